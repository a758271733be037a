# Finds torch's headers and libraries: in a Python wheel or a libtorch archive, for the CPU or for CUDA.
#
# torch's own package, find_package(Torch), stops without a CUDA toolkit if torch was built for CUDA. Code that
# includes no CUDA header needs none, so this module looks for the files alone. It searches
#
#   Torch_DIR           torch's share/cmake/Torch, as for torch's own package
#   CMAKE_PREFIX_PATH   the libtorch folder, or Python's torch.utils.cmake_prefix_path
#
# and defines the target LibTorch::LibTorch and the variables LibTorch_VERSION and LibTorch_LIBRARY_DIR.

# The second suffix leads from share/cmake to the folder of torch.
find_path(LibTorch_INCLUDE_DIR torch/headeronly/version.h
  HINTS "${Torch_DIR}/../../../include" PATH_SUFFIXES include ../../include)
mark_as_advanced(LibTorch_INCLUDE_DIR)

set(LibTorch_LIBRARIES)
if(LibTorch_INCLUDE_DIR)
  cmake_path(ABSOLUTE_PATH LibTorch_INCLUDE_DIR NORMALIZE OUTPUT_VARIABLE include)
  cmake_path(GET include PARENT_PATH root)
  set(LibTorch_LIBRARY_DIR ${root}/lib)
  foreach(name torch torch_cpu c10)
    list(APPEND LibTorch_LIBRARIES ${LibTorch_LIBRARY_DIR}/lib${name}.so)
    if(NOT EXISTS ${LibTorch_LIBRARY_DIR}/lib${name}.so)
      set(LibTorch_LIBRARIES LibTorch_LIBRARIES-NOTFOUND)
      break()
    endif()
  endforeach()

  file(STRINGS ${include}/torch/headeronly/version.h version REGEX "\"[0-9]+\\.[0-9]+\\.[0-9]+")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" LibTorch_VERSION "${version}")

  # Definitions that change the layout of torch's classes, such as USE_DISTRIBUTED.
  file(STRINGS ${root}/share/cmake/Caffe2/Caffe2Targets.cmake definitions
       REGEX "INTERFACE_COMPILE_DEFINITIONS \"[A-Z]")
  string(REGEX MATCHALL "USE_[A-Z0-9_]+" definitions "${definitions}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_LIBRARIES LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  HANDLE_VERSION_RANGE
  REASON_FAILURE_MESSAGE "CMAKE_PREFIX_PATH must hold the libtorch folder, or the torch.utils.cmake_prefix_path of a Python package")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  foreach(name torch torch_cpu c10)
    add_library(LibTorch::${name} SHARED IMPORTED GLOBAL)
    set_target_properties(LibTorch::${name} PROPERTIES
      IMPORTED_LOCATION ${LibTorch_LIBRARY_DIR}/lib${name}.so)
  endforeach()
  add_library(LibTorch::LibTorch INTERFACE IMPORTED GLOBAL)
  set_target_properties(LibTorch::LibTorch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${include};${include}/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS "${definitions}"
    INTERFACE_COMPILE_FEATURES cxx_std_20
    INTERFACE_LINK_LIBRARIES "LibTorch::torch;LibTorch::torch_cpu;LibTorch::c10")
  # libtorch.so has no symbols; it loads the libraries of the devices that torch was built for, so it must stay
  # linked though nothing refers to it. Theirs, such as CUDA's, are found when a program starts.
  set_property(TARGET LibTorch::LibTorch PROPERTY INTERFACE_LINK_OPTIONS
    "LINKER:--push-state,--no-as-needed,$<TARGET_FILE:LibTorch::torch>,--pop-state"
    "LINKER:--allow-shlib-undefined")
endif()
