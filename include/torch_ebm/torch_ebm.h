#pragma once

#include "torch_ebm/ais.h"
#include "torch_ebm/boltzmann_machine.h"
#include "torch_ebm/energy.h"
#include "torch_ebm/exact_log_z.h"
#include "torch_ebm/gibbs.h"
#include "torch_ebm/langevin.h"
#include "torch_ebm/log_partition.h"
#include "torch_ebm/negative_phase.h"
#include "torch_ebm/progress.h"
#include "torch_ebm/rbm.h"
#include "torch_ebm/training_monitor.h"
#include "torch_ebm/version.h"
