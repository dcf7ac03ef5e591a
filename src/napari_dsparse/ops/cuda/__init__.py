"""The library's operators on NVIDIA GPUs: CUDA C++ in `sources`, compiled at first use.

A launch walks one way: `launch` (an operator) -> `convolutions`, `pools`, `gathers` (tiles, arguments) ->
`execution` (a kernel on a device) -> `compiler` (cubin, by `nvrtc`, kept in `cache`) -> `driver` (libcuda).
Beside it, `choices` knows which convolutions cuDNN serves instead. Users need no CUDA toolkit and no
compiler: NVRTC comes with every CUDA build of PyTorch.

Importing this package needs neither; see `launch.can_run` for what is missing.
"""
