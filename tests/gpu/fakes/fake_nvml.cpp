// Stands in for libnvidia-ml.so.1. With FAKE_NVML_IS_OLD it lacks a function.
#include "fake_nvml.hpp"

#include <cstring>

extern "C" {

fake_nvml_state fake_nvml{};

int nvmlInit_v2() {
  ++fake_nvml.inits;
  return fake_nvml.init_says;
}

const char* nvmlErrorString(int said) {
  return said == 9 ? "Driver Not Loaded" : said == 6 ? "Not Found" : "GPU is lost";
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  ++fake_nvml.finds;
  std::strncpy(fake_nvml.uuid, uuid, sizeof fake_nvml.uuid - 1);
  *device = &fake_nvml;
  return fake_nvml.inits != 0 ? fake_nvml.find_says : 1;
}

#ifndef FAKE_NVML_IS_OLD
int nvmlDeviceGetMemoryInfo(void* device, unsigned long long* total_free_used) {
  ++fake_nvml.reads;
  if (device != &fake_nvml) return 2;
  total_free_used[0] = 1000;
  total_free_used[1] = 1000 - fake_nvml.used;
  total_free_used[2] = fake_nvml.used;
  return fake_nvml.memory_says;
}
#endif

}  // extern "C"
