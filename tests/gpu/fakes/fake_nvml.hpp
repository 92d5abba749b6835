#pragma once
// What the library that stands in for NVML in tests is told, and what it was asked, in its variable `fake_nvml`.

struct fake_nvml_state {
  int init_says, find_says, memory_says;  // values of nvmlReturn_t
  unsigned long long used;
  int inits, finds, reads;  // calls
  char uuid[64];            // that was asked for
};
