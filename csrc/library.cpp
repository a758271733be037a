// The index of the library: every operator and class, with its schema. Kernels are registered where they
// are defined.
//
// Random ops, and those that call user code, are CONSERVATIVE: TorchScript merges two equal calls
// of any other op into one, so that a sampler would give the same numbers twice.

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <cstring>

#include "csrc/common/checks.h"
#include "torch_ebm/learning/training_monitor.h"
#include "torch_ebm/version.h"

namespace torch_ebm {

TORCH_LIBRARY(torch_ebm, m) {
  const auto conservative = [](const char* schema) {
    return torch::schema(schema, c10::AliasAnalysisKind::CONSERVATIVE);
  };
  const std::vector<at::Tag> compiles = {at::Tag::pt2_compliant_tag};
  const std::vector<at::Tag> random = {at::Tag::pt2_compliant_tag,
                                       at::Tag::nondeterministic_seeded};

  m.def("version() -> str", &version);
  m.def("built_for_torch() -> str", &built_for_torch);
  m.def("cpu_kernels() -> str", &cpu_kernels);

  // clang-format off
  // The Bernoulli RBM.
  m.def("rbm_energy(Tensor visible, Tensor hidden, Tensor weight, Tensor visible_bias, "
        "Tensor hidden_bias) -> Tensor", compiles);
  m.def("rbm_free_energy(Tensor visible, Tensor weight, Tensor visible_bias, Tensor hidden_bias, "
        "Tensor? beta=None) -> Tensor", compiles);
  m.def(conservative(
        "rbm_gibbs(Tensor visible, Tensor weight, Tensor visible_bias, Tensor hidden_bias, *, "
        "int n_steps=1, Tensor? beta=None, Tensor? clamp=None, Generator? generator=None) "
        "-> (Tensor visible, Tensor hidden)"), random);
  m.def(conservative(
        "rbm_sample(Tensor weight, Tensor visible_bias, Tensor hidden_bias, SymInt n, *, "
        "Generator? generator=None) -> Tensor"), random);
  m.def("rbm_flip_differences(Tensor visible, Tensor weight, Tensor visible_bias, "
        "Tensor hidden_bias, Tensor? sites=None) -> Tensor", compiles);
  m.def("_rbm_flip_sums(Tensor visible, Tensor hidden_input, Tensor weight, Tensor? sites) "
        "-> Tensor", compiles);
  m.def("_rbm_flip_sums_backward(Tensor gradient, Tensor visible, Tensor hidden_input, "
        "Tensor weight, Tensor? sites) -> (Tensor hidden_input, Tensor weight)", compiles);
  m.def("base_rate_bias(Tensor data, float pseudocount=1.0) -> Tensor");

  // The fully visible Boltzmann machine.
  m.def("boltzmann_energy(Tensor x, Tensor weight, Tensor bias) -> Tensor", compiles);
  m.def("boltzmann_flip_differences(Tensor x, Tensor weight, Tensor bias, Tensor? sites=None) "
        "-> Tensor", compiles);
  m.def(conservative(
        "boltzmann_gibbs(Tensor x, Tensor weight, Tensor bias, *, int n_steps=1, Tensor? beta=None, "
        "Tensor? clamp=None, Generator? generator=None, str scan='systematic') -> Tensor"), random);
  m.def(conservative(
        "boltzmann_gibbs_with_gradients(Tensor x, Tensor weight, Tensor bias, *, int n_steps=1, "
        "Tensor? beta=None, Generator? generator=None) -> (Tensor x, Tensor acceptance_rate)"),
        random);

  // The multilayer perceptron as an energy.
  m.def("mlp_value_and_score(Tensor x, Tensor[] weights, Tensor[] biases, str activation='silu', "
        "float confinement=0.0) -> (Tensor energy, Tensor score)", compiles);

  // Samplers of any energy: a scripted module, or the handle of a Python callable.
  // `Any step_size` is a number, a list with one for every step, or a tensor with one for every chain.
  const auto sampler = [&](const std::string& name, const std::string& options) {
    m.def(conservative((
        name + "(Any energy, Tensor x, *, " + options + "int n_steps=1, Tensor? beta=None, "
        "int thin=0, bool inplace=False, Generator? generator=None) "
        "-> (Tensor x, Tensor acceptance_rate, Tensor trajectory, Tensor? energy)").c_str()),
        {at::Tag::nondeterministic_seeded});
  };
  sampler("gibbs", "Tensor? clamp=None, str scan='systematic', bool? categorical=None, "
          "Tensor? blocks=None, ");
  sampler("gibbs_with_gradients", "Tensor? clamp=None, bool? categorical=None, ");
  sampler("discrete_langevin", "Any step_size, bool metropolis=True, bool? categorical=None, ");
  sampler("langevin", "Any step_size, float noise_scale=1.0, float? max_score=None, float? low=None, "
          "float? high=None, ");
  m.def(conservative(
        "langevin_update(Tensor x, Tensor score, float step_size, *, float noise_scale=1.0, "
        "Generator? generator=None) -> Tensor"), random);
  sampler("underdamped_langevin", "Any step_size, float friction=1.0, Tensor? inverse_mass=None, ");
  sampler("mala", "Any step_size, Tensor? inverse_mass=None, ");
  sampler("hmc", "Any step_size, int n_leapfrog=10, float jitter=0.0, Tensor? inverse_mass=None, ");
  sampler("nuts", "Any step_size, int max_depth=10, Tensor? inverse_mass=None, ");
  m.def(conservative(
        "warm_up(Any energy, Tensor x, *, str sampler=\"nuts\", int n_steps=1000, "
        "float? target_acceptance=None, int n_leapfrog=10, int max_depth=10, Tensor? beta=None, "
        "Generator? generator=None) -> (Tensor x, Tensor step_size, Tensor inverse_mass)"),
        {at::Tag::nondeterministic_seeded});

  // Tempering over any sampler: a scripted module whose forward(x, beta, generator) contains the
  // energy itself, or the handle of a Python callable.
  m.def(conservative(
        "replica_exchange(Any energy, Tensor x, Tensor betas, Any sampler, *, int first_step=0, "
        "bool all_rungs=False, int n_steps=1, int thin=0, bool inplace=False, "
        "Generator? generator=None) -> (Tensor x, Tensor swap_rate, Tensor trajectory, Tensor replica)"),
        {at::Tag::nondeterministic_seeded});
  m.def(conservative(
        "tempered_transitions(Any energy, Tensor x, Tensor betas, Any sampler, *, int n_steps=1, "
        "int thin=0, bool inplace=False, Generator? generator=None) "
        "-> (Tensor x, Tensor acceptance_rate, Tensor trajectory, Tensor? energy)"),
        {at::Tag::nondeterministic_seeded});
  m.def("adapt_ladder(Tensor betas, Tensor swap_rate) -> Tensor");
  m.def(conservative(
        "tune_ladder(Any energy, Tensor x, Tensor betas, Any sampler, *, int n_rounds=6, "
        "int n_steps=16, Generator? generator=None) -> (Tensor betas, Tensor x, Tensor swap_rate)"),
        {at::Tag::nondeterministic_seeded});

  // A dtype is `int`, which is how TorchScript passes one: see checked_dtype.
  m.def(conservative(
        "start_states(str law, int[] size, *, int? dtype=None, Device? device=None, "
        "Generator? generator=None) -> Tensor"), {at::Tag::nondeterministic_seeded});

  m.def(conservative(
        "unbiased_cd(Any energy, Tensor x, *, int n_steps=1, int max_steps=1000, "
        "Generator? generator=None) -> (Tensor x, Tensor weights, Tensor chain)"),
        {at::Tag::nondeterministic_seeded});

  // The random numbers of criteria.
  m.def(conservative("_draw_key(Tensor like, *, Generator? generator=None) -> Tensor"), random);
  m.def("_uniform_numbers(Tensor like, Tensor key, int step, int stream) -> Tensor", compiles);
  m.def("_normal_numbers(Tensor like, Tensor key, int step, int stream) -> Tensor", compiles);
  // Criteria, in which Z cancels or is learned. The last take their noise as tensors and draw nothing.
  const auto criterion = [&](const std::string& name, const std::string& options,
                             const std::string& random = ", Generator? generator=None") {
    m.def(conservative((
        name + "(Any energy, Tensor x, *, " + options + "Tensor? weights=None, "
        "str reduction='mean'" + random + ") -> Tensor").c_str()));
  };
  criterion("pseudolikelihood", "bool? categorical=None, Tensor? blocks=None, int? n_sites=None, "
            "int? chunk_size=None, ");
  criterion("ratio_matching", "int? n_sites=None, int? chunk_size=None, ");
  criterion("minimum_probability_flow", "bool? categorical=None, int? n_sites=None, "
            "int? chunk_size=None, ");
  criterion("concrete_score_matching", "bool? categorical=None, int? n_sites=None, "
            "int? chunk_size=None, ");
  criterion("score_matching", "str domain='real', float? low=None, float? high=None, "
            "int? chunk_size=None, ");
  criterion("sliced_score_matching", "str projections='rademacher', int n_projections=1, "
            "Tensor? vectors=None, bool variance_reduced=True, str method='autograd', float eps=0.01, "
            "int? chunk_size=None, ");
  // `Any sigma` is a number, a list of levels, or a tensor with one for every example.
  criterion("denoising_score_matching", "Any sigma, str? weighting=None, "
            "Tensor? noise=None, ");
  criterion("kernel_stein_discrepancy", "str statistic='u', str kernel='imq', "
            "float? exponent=None, float? bandwidth=None, ");
  criterion("energy_discrepancy", "float? t=None, float? flip_probability=None, int n_samples=16, "
            "float stabilisation=1.0, ");
  // The sampler gets the noisy examples and moves the states of their conditional energy.
  criterion("recovery_likelihood", "float sigma, Any sampler, ");
  criterion("conditional_nce", "float? sigma=None, int? n_noise=None, Tensor? noise=None, "
            "Tensor? log_ratio=None, ");
  criterion("nce", "Tensor noise, Tensor noise_log_prob, Tensor data_log_prob, "
            "Tensor? log_z=None, ", "");
  criterion("ranking_nce", "Tensor noise, Tensor noise_log_prob, Tensor data_log_prob, ", "");
  criterion("maximum_likelihood", "Tensor? negative_samples=None, Tensor? log_z=None, "
            "Tensor? negative_weights=None, ", "");

  // The energies (N,) that every sampler and estimator here gives states at beta.
  m.def(conservative("_energy_at(Any energy, Tensor x, Tensor? beta=None) -> Tensor"));

  // The partition function.
  m.def("log_partition(Tensor negative_energies, Tensor? log_z=None, Tensor? weights=None) "
        "-> Tensor", compiles);
  m.def(conservative(
        "exact_log_z(Any energy, int n_units, *, int? n_categories=None, int? dtype=None, "
        "Device? device=None) -> Tensor"));
  m.def(conservative(
        "quadrature_log_z(Any energy, float[] low, float[] high, *, int? n_panels=None, "
        "int? dtype=None, Device? device=None) "
        "-> (Tensor log_z, Tensor error, Tensor border)"));
  m.def("lattice_log_z(Tensor site_energy, Tensor along, Tensor across) -> Tensor", compiles);
  m.def("ising_log_z(Tensor coupling, Tensor? field, int[2] size, *, bool[2] periodic) -> Tensor",
        compiles);
  m.def("gaussian_log_z(Tensor precision, Tensor? linear=None) -> Tensor", compiles);
  m.def("rbm_log_z(Tensor weight, Tensor visible_bias, Tensor hidden_bias) -> Tensor", compiles);
  m.def(conservative(
        "rbm_ais(Tensor weight, Tensor visible_bias, Tensor hidden_bias, Tensor base_visible_bias, "
        "Tensor betas, *, SymInt n_chains, Tensor? visible=None, Tensor? log_weights=None, "
        "Generator? generator=None) "
        "-> (Tensor log_weights, Tensor visible)"), random);
  m.def(conservative(
        "anneal(Any energy, Tensor x, Tensor betas, Any sampler, *, Tensor? log_weights=None, "
        "int n_groups=1, float resample_below=0.0, Generator? generator=None) "
        "-> (Tensor x, Tensor log_weights, Tensor stage_ess)"),
        {at::Tag::nondeterministic_seeded});
  // A path through RBMs (R knots), and the one that averages moments.
  m.def("rbm_path_at(Tensor weight, Tensor visible_bias, Tensor hidden_bias, Tensor betas, "
        "Tensor beta) -> (Tensor weight, Tensor visible_bias, Tensor hidden_bias)", compiles);
  m.def("_rbm_path_betas(Tensor weight, Tensor visible_bias, Tensor hidden_bias, Tensor? betas) "
        "-> Tensor");
  m.def(conservative(
        "moment_averaged_rbms(Tensor weight, Tensor visible_bias, Tensor hidden_bias, "
        "Tensor base_visible_bias, *, int n_knots=9, Tensor? x=None, int n_model_steps=1000, "
        "int n_chains=100, int n_updates=500, float learning_rate=0.1, Generator? generator=None) "
        "-> (Tensor weight, Tensor visible_bias, Tensor hidden_bias, Tensor betas)"), random);
  m.def(conservative(
        "linked_ais(Any energy, Tensor x, Tensor betas, Any sampler, *, Tensor? log_ratios=None, "
        "Generator? generator=None) -> (Tensor log_weights, Tensor log_ratios)"),
        {at::Tag::nondeterministic_seeded});
  m.def("linear_schedule(int n_steps) -> Tensor");
  m.def("salakhutdinov_murray_schedule(int n_steps) -> Tensor");
  m.def("sigmoid_schedule(int n_steps, float steepness=4.0) -> Tensor");
  m.def(conservative(
        "adaptive_schedule(Any energy, Tensor x, Any sampler, *, float conditional_ess=0.999, "
        "int max_temperatures=100000, Generator? generator=None) -> Tensor"),
        {at::Tag::nondeterministic_seeded});
  m.def(conservative(
        "tune_path(Any energy, Tensor x, Tensor betas, *, str sampler=\"hmc\", int n_steps=100, "
        "float? target_acceptance=None, int n_leapfrog=10, Generator? generator=None) "
        "-> (Tensor step_size, Tensor inverse_mass)"), {at::Tag::nondeterministic_seeded});
  m.def(conservative(
        "tuned_step(Any energy, Tensor x, Tensor beta, str sampler, Tensor betas, "
        "Tensor step_size, Tensor inverse_mass, *, int n_leapfrog=10, int n_steps=1, "
        "Generator? generator=None) "
        "-> (Tensor x, Tensor acceptance_rate, Tensor trajectory, Tensor? energy)"),
        {at::Tag::nondeterministic_seeded});
  m.def("log_z_from_weights(Tensor log_weights, Tensor log_z_base) "
        "-> (Tensor log_z, Tensor std_error, Tensor lower, Tensor upper, Tensor ess)");
  m.def("rbm_base_warning(Tensor weight, Tensor visible_bias, Tensor hidden_bias, "
        "Tensor base_visible_bias, Tensor betas, int n_chains, float log_z, float upper) -> str");
  m.def("log_z_warning(float ess, int n_weights, float lower, float upper) -> str");
  m.def("bridge_sampling(Tensor log_ratio_0, Tensor log_ratio_1, *, str bridge='optimal') "
        "-> (Tensor log_z, Tensor std_error, Tensor lower, Tensor upper, Tensor ess)");
  m.def("mbar(Tensor energies, Tensor counts) "
        "-> (Tensor log_z, Tensor covariance, Tensor overlap)");
  m.def("mbar_weights(Tensor energies, Tensor counts) -> Tensor");
  m.def("mbar_expectation(Tensor energies, Tensor counts, Tensor values) "
        "-> (Tensor mean, Tensor std_error)");
  m.def("thermodynamic_integration(Tensor betas, Tensor derivatives, *, bool corrected=True) "
        "-> (Tensor log_z, Tensor std_error, Tensor lower, Tensor upper, Tensor ess)");
  m.def(conservative(
        "tempered_log_z(Any energy, Tensor x, Tensor betas, Any sampler, *, int n_steps, "
        "int n_burn_in=0, float log_z_base=0.0, str method='mbar', Generator? generator=None) "
        "-> (Tensor log_z, Tensor std_error, Tensor lower, Tensor upper, Tensor ess)"),
        {at::Tag::nondeterministic_seeded});
  m.def(conservative(
        "ladder_energies(Any energy, Tensor x, Tensor betas, Any sampler, *, int n_steps, "
        "int n_burn_in=0, Generator? generator=None) "
        "-> (Tensor energies, Tensor x, Tensor swap_rate)"), {at::Tag::nondeterministic_seeded});
  m.def("overlap_warning(float ess, float lower, float upper) -> str");
  m.def("log_z_track(Tensor chains, Tensor betas) -> Tensor[]");
  m.def(conservative(
        "track_log_z(Tensor[] track, Any energy, Any previous, Tensor chains, Tensor betas, *, "
        "float log_z_base=0.0) -> Tensor[]"));
  m.def("anchor_log_z(Tensor[] track, float log_z, float std_error) -> Tensor[]");
  m.def("tracked_log_z(Tensor[] track) "
        "-> (Tensor log_z, Tensor std_error, Tensor lower, Tensor upper, Tensor ess)");
  m.def("rung_log_z(Tensor[] track) -> Tensor");
  m.def("log_z_track_warning(Tensor[] track) -> str");

  m.def("sandwich_warning(float forward, float forward_lower, float forward_upper, "
        "float reverse, float reverse_lower, float reverse_upper) -> str");
  // What annealing decides, for Python's loops over stages and batches. `op` is the function that messages name.
  m.def("_betas_to_model(str op, Tensor? betas=None) -> Tensor");
  m.def(conservative(
        "_check_annealing_start(str op, Tensor x, Tensor? rbm_weight=None) -> ()"));
  m.def("_n_pilot_chains() -> int");
  m.def("_pilot_run(int n_stages) -> (Tensor betas, int n_steps)");
  m.def("_default_sampler(str op, Tensor x, str support=\"unknown\") -> str");
  m.def(conservative(
        "_log_z_of_base(str op, Any path, Tensor x, Tensor log_prob) -> Tensor"));
  m.def("_rbm_log_z_base(Tensor base_visible_bias, int n_hidden) -> Tensor");
  m.def("_effective_number(Tensor log_weights) -> Tensor");
  m.def("_independent_weights(Tensor log_weights, int n_groups) -> Tensor");
  m.def(conservative(
        "_moved_at_model(str op, Any path, Tensor x, Any sampler, *, int n_steps=1, "
        "Generator? generator=None) -> Tensor"), {at::Tag::nondeterministic_seeded});
  m.def(conservative(
        "_chains_by_weight(Tensor log_weights, *, Generator? generator=None) -> Tensor"),
        {at::Tag::nondeterministic_seeded});
  m.def(conservative(
        "_raised_log_likelihood(Any path, Tensor x, Tensor log_weights, Tensor log_z_base) "
        "-> Tensor"));
  m.def("_sandwich_bridge(Tensor forward, Tensor log_z, Tensor reverse) "
        "-> (Tensor log_z, Tensor std_error, Tensor lower, Tensor upper, Tensor ess)");
  m.def("_rbm_has_exact_samples(Tensor weight) -> bool");
  // log Z is () if it is exact, or (4,): log Z, its standard error, and its 95% interval.
  const char* const log_likelihood =
      "int? batch_size=None) -> (Tensor values, Tensor mean, Tensor data_error, "
      "Tensor log_z_error, Tensor std_error, Tensor lower, Tensor upper)";
  m.def(conservative((std::string("log_likelihood(Any energy, Tensor x, Tensor log_z, *, ") +
        log_likelihood).c_str()));
  m.def(conservative((std::string("compare_log_likelihoods(Any energy_a, Any energy_b, Tensor x, "
        "Tensor log_z_a, Tensor log_z_b, *, ") + log_likelihood).c_str()));

  // Diagnostics of Markov chains.
  m.def("r_hat(Tensor x) -> Tensor");
  m.def("ess_bulk(Tensor x) -> Tensor");
  m.def("ess_tail(Tensor x) -> Tensor");
  m.def("ess_mean(Tensor x) -> Tensor");
  m.def("mcse_mean(Tensor x) -> Tensor");
  m.def("autocorrelation_time(Tensor x) -> Tensor");
  m.def("autocorrelation(Tensor x) -> Tensor");
  m.def("round_trips(Tensor replica_trace) -> Tensor");

  // Tests of exactness. A check is what was checked, its p-value, and the details.
  const auto check = [&](const std::string& name, const std::string& arguments) {
    m.def(conservative((name + "(" + arguments +
        ") -> (str what, float p_value, str detail)").c_str()));
  };
  m.def("enumerate_states(int[] shape, int n_states=2) -> Tensor");
  m.def(conservative("exact_law(Any energy, Tensor states, float? beta=None) -> Tensor"));
  check("chi_square_check", "Tensor counts, Tensor probabilities, str what='counts'");
  check("mean_check", "Tensor samples, Tensor mean, str what='mean'");
  check("check_invariance", "Any sampler, Any energy, Tensor states, *, float? beta=None, "
        "int n_chains=20000, int n_calls=3, int seed=0");
  check("check_convergence", "Any sampler, Any energy, Tensor states, *, int start=0, "
        "float? beta=None, int n_chains=20000, int n_calls=100, int seed=0");
  m.def(conservative(
        "transition_counts(Any sampler, Any energy, Tensor states, *, float? beta=None, "
        "int n_chains=4000, int seed=0) -> Tensor"));
  check("check_transitions", "Tensor counts, Tensor transition_matrix");
  check("check_detailed_balance", "Tensor counts, Tensor law");
  check("check_keeps_law", "Any sampler, Any energy, Tensor exact_samples, *, float? beta=None, "
        "int n_calls=1, int seed=0");
  // What is left of the checks that call more of the user's code: before the call, and after it.
  m.def(conservative(
        "_run_sampler(Any sampler, Any energy, Tensor x, *, float? beta=None, int n_calls=1, "
        "Generator? generator=None) -> Tensor"), {at::Tag::nondeterministic_seeded});
  m.def(conservative(
        "_exact_replicas(Any energy, Tensor states, float[] betas, *, int n_chains, "
        "Generator? generator=None) -> (Tensor x, Tensor laws)"), {at::Tag::nondeterministic_seeded});
  check("_check_replicas", "Tensor x, Tensor states, Tensor laws");

  // Implemented in Python, in a Python process.
  m.def(conservative("_call_energy(Tensor x, int handle) -> Tensor"));
  m.def(conservative("_energy_has(int handle, str method) -> bool"));
  // Models of this library as `Any energy`: handles, see csrc/energy/held_energies.h.
  m.def(conservative("_hold_rbm(Tensor weight, Tensor visible_bias, Tensor hidden_bias) -> int"));
  m.def(conservative("_hold_boltzmann_machine(Tensor weight, Tensor bias) -> int"));
  m.def(conservative("_hold_mlp(Tensor[] weights, Tensor[] biases, str activation, float confinement) -> int"));
  m.def(conservative("_hold_annealed_energy(Any energy, Tensor? logits, Any base) -> int"));
  m.def(conservative("_release_energy(int handle) -> ()"));
  // What an optional method of an energy returns, given x and its other arguments, a tuple. `expected` says what that
  // must be.
  m.def(conservative("_call_energy_method(Tensor x, int handle, str method, str expected, "
                     "Any arguments) -> Any"));
  m.def(conservative(
        "_call_sampler(Tensor x, int handle, Tensor? beta, Generator? generator) "
        "-> (Tensor x, Tensor? energy)"));
  // For the tests of passes: whether torch's forms are forced in this thread; returns what was before.
  m.def(conservative("_use_torch_passes(bool forced) -> bool"));
  m.def(conservative("_progress(str operation, int done, int total) -> ()"));
  // clang-format on

  m.class_<TrainingMonitor>("TrainingMonitor")
      .def(torch::init<>())
      .def("update", &TrainingMonitor::update)
      .def("end_epoch", &TrainingMonitor::end_epoch)
      .def("measures", &TrainingMonitor::measures)
      .def("state", &TrainingMonitor::state)
      .def("set_state", &TrainingMonitor::set_state)
      .def_pickle([](const c10::intrusive_ptr<TrainingMonitor>& self) { return self->state(); },
                  [](const std::vector<double>& state) {
                    auto monitor = c10::make_intrusive<TrainingMonitor>();
                    monitor->set_state(state);
                    return monitor;
                  });
}

namespace {

/// In place of kernels for tensors that are not dense: names the first of them. Where there is none the call goes on:
/// an undefined tensor, an optional argument of C++, is dispatched by AutogradOther too.
void refuse_layout(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                   torch::jit::Stack* stack) {
  const auto& arguments = op.schema().arguments();
  const std::string name = op.schema().name().substr(std::strlen("torch_ebm::"));
  const size_t first = stack->size() - arguments.size();
  for (size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& value = (*stack)[first + i];
    const std::vector<at::Tensor> tensors = value.isTensor()       ? std::vector{value.toTensor()}
                                            : value.isTensorList() ? value.toTensorVector()
                                                                   : std::vector<at::Tensor>();
    for (const at::Tensor& tensor : tensors) {
      if (tensor.defined()) {
        detail::check_dense(name.c_str(), arguments[i].name().c_str(), tensor);
      }
    }
  }
  op.redispatchBoxed(
      keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, c10::DispatchKey::AutogradOther),
      stack);
}

/// Without these the dispatcher answers for us, by pages that list its tables.
void refuse_in(torch::Library& m) {
  for (const c10::OperatorName& op : c10::Dispatcher::singleton().getAllOpNames()) {
    if (op.getNamespace() != "torch_ebm") continue;
    m.impl(op.name.c_str(), torch::CppFunction::makeFromBoxedFunction<&refuse_layout>());
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_ebm, SparseCPU, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, SparseCUDA, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, SparseCsrCPU, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, SparseCsrCUDA, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, MkldnnCPU, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, QuantizedCPU, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, NestedTensorCPU, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, NestedTensorCUDA, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, AutogradNestedTensor, m) { refuse_in(m); }
TORCH_LIBRARY_IMPL(torch_ebm, AutogradOther, m) { refuse_in(m); }

}  // namespace torch_ebm
