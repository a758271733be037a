# Compiles the sources of a target joined, several to a translation unit. torch's headers and what a unit
# instantiates of them cost 10 s of processor time a unit; a source itself costs one or two. So names in anonymous
# namespaces must differ within a unit.
option(TORCH_EBM_UNITY "Compile sources joined; OFF compiles file by file, for debugging" ON)

# torch_ebm_join(TARGET UNIT SOURCES...): makes these sources of the target one translation unit.
function(torch_ebm_join target unit)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${TORCH_EBM_UNITY} UNITY_BUILD_MODE GROUP)
  set_source_files_properties(${ARGN} PROPERTIES UNITY_GROUP ${unit})
endfunction()
