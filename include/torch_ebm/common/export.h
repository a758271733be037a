#pragma once

// The library is built with hidden visibility; this marks what it exports.
#define TORCH_EBM_API __attribute__((visibility("default")))
