#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"
#include "torch_ebm/energy/noise.h"

namespace torch_ebm {

/// `energy` on the geometric path from a known distribution: its energy at inverse temperature beta
/// is (1 - beta) E_0 + beta E with E_0 = -base.log_prob (Neal 2001, eq. 3). At beta = 1, or without
/// a temperature, it is `energy`. At beta = 0 it is the base, whose log Z is 0 if log_prob is
/// normalised. It keeps the score and the flip differences of `energy`, and its samplers at beta =
/// 1; at every beta if the base is one of independent binary units (`logits`) and `energy` has a
/// form in a field, as a Boltzmann machine does (EnergyFunction::in_field).
TORCH_EBM_API Energy annealed_energy(const Energy& energy, const NoiseDistribution& base);

}  // namespace torch_ebm
