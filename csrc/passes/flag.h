#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::passes {

/// Whether something went wrong in any of many passes. A kernel knows it at once; torch's form keeps it on the device,
/// so that a loop need not wait for every step: only read() waits.
class Flag {
 public:
  void raise() { raised_ = true; }
  /// `wrong`: a boolean, (), on any device.
  void raise_if(const at::Tensor& wrong) {
    on_device_ = on_device_.defined() ? on_device_.logical_or(wrong) : wrong;
  }

  /// Whether it is known to be raised, and whether it may be, without waiting.
  bool is_up() const { return raised_; }
  bool may_be_up() const { return raised_ || on_device_.defined(); }
  /// Whether it is raised.
  bool read() const { return raised_ || (on_device_.defined() && on_device_.item<bool>()); }
  /// What torch's form has noted, a boolean, (), on the device; undefined if it noted nothing.
  const at::Tensor& on_device() const { return on_device_; }

 private:
  bool raised_ = false;
  at::Tensor on_device_;
};

}  // namespace torch_ebm::passes
