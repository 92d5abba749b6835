# The CUDA part of gpu/: found here, since a language must be enabled above everything that links it; added to the
# library by hydrogen_add_cuda.
set(HYDROGEN_CUDA AUTO CACHE STRING "CUDA devices: AUTO (with them if nvcc is found), ON or OFF")
set_property(CACHE HYDROGEN_CUDA PROPERTY STRINGS AUTO ON OFF)

set(HYDROGEN_HAS_CUDA OFF)
if(HYDROGEN_CUDA)
  find_program(HYDROGEN_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin PATHS /usr/local/cuda/bin)
  if(HYDROGEN_NVCC)
    set(HYDROGEN_HAS_CUDA ON)
  elseif(NOT HYDROGEN_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "HYDROGEN_CUDA=${HYDROGEN_CUDA} needs a CUDA toolkit, and there is no nvcc in PATH, "
      "$CUDA_HOME/bin or /usr/local/cuda/bin. Install one, or configure with -DHYDROGEN_CUDA=OFF: virtual devices "
      "run everything on the CPU.")
  endif()
endif()

if(HYDROGEN_HAS_CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${HYDROGEN_NVCC})
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES "80-real;90-real")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  # CMake 3.25 knows no option of nvcc for C++20, and drops a standard of 20 that is not required.
  set(CMAKE_CUDA_STANDARD_REQUIRED OFF)
  set(HYDROGEN_CUDA_OPTIONS -std=c++20)
  if(NOT DEFINED HYDROGEN_CUDA_HAS_CONCEPTS)
    set(source ${CMAKE_BINARY_DIR}/cuda_concepts.cu)
    file(WRITE ${source} "template <class T> concept sized = requires(T t) { t.size(); };
      struct three { int size() const { return 3; } };
      template <sized T> __global__ void kernel(T) {}
      int main() { kernel<<<1, 1>>>(three{}); }\n")
    set(command ${CMAKE_CUDA_COMPILER} ${HYDROGEN_CUDA_OPTIONS} -arch=sm_80 -c ${source} -o ${source}.o)
    if(CMAKE_CUDA_HOST_COMPILER)
      list(APPEND command -ccbin ${CMAKE_CUDA_HOST_COMPILER})
    endif()
    execute_process(COMMAND ${command} RESULT_VARIABLE code OUTPUT_VARIABLE said ERROR_VARIABLE said)
    if(NOT code EQUAL 0)
      message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} does not compile C++20: concepts are needed. It says:\n${said}")
    endif()
    set(HYDROGEN_CUDA_HAS_CONCEPTS TRUE CACHE INTERNAL "nvcc compiles a concept")
  endif()
  message(STATUS "CUDA devices: on, ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION}")
else()
  message(STATUS "CUDA devices: off")
endif()

# hydrogen_add_cuda(TARGET): in hydrogen/gpu/cuda/, the sources named cuda_* need the toolkit, no_cuda.cpp stands in
# for them, and the others are part of every build.
function(hydrogen_add_cuda target)
  file(GLOB hosted CONFIGURE_DEPENDS hydrogen/gpu/cuda/cuda_*.cpp)
  if(NOT HYDROGEN_HAS_CUDA)
    set_source_files_properties(${hosted} PROPERTIES HEADER_FILE_ONLY ON)
    return()
  endif()
  set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/hydrogen/gpu/cuda/no_cuda.cpp PROPERTIES HEADER_FILE_ONLY ON)
  file(GLOB kernels CONFIGURE_DEPENDS hydrogen/gpu/cuda/*.cu)
  target_sources(${target} PRIVATE ${kernels})
  set_source_files_properties(${kernels} ${hosted} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  # Kernels promise the bits of additions and multiplications in a stated order, so none is contracted. Device code
  # uses the conversions of half.hpp, which are constexpr.
  set(options ${HYDROGEN_CUDA_OPTIONS} --expt-relaxed-constexpr -fmad=false -Xcompiler=-Wall,-Wextra,-fno-omit-frame-pointer)
  if(HYDROGEN_WERROR)
    list(APPEND options -Werror=all-warnings -Xcompiler=-Werror)
  endif()
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${options}>")
  target_include_directories(${target} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  list(GET CUDAToolkit_INCLUDE_DIRS 0 HYDROGEN_CUDA_HEADERS)
  target_compile_definitions(${target} PRIVATE HYDROGEN_CUDA_INCLUDE="${HYDROGEN_CUDA_HEADERS}"
    HYDROGEN_CUDA_LIBRARIES="${CUDAToolkit_LIBRARY_DIR}")
  target_compile_definitions(${target} INTERFACE HYDROGEN_HAS_CUDA)  # for tests of what only such a build has
  # Static, so that programs start where there is no driver: the runtime loads the driver's library itself.
  target_link_libraries(${target} PRIVATE CUDA::cudart_static)
endfunction()
