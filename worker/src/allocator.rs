//! How the system's allocator is to treat large blocks.

/// From here on a block is mapped by itself, and given back when it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 128 << 10;

/// Has large blocks mapped, one by one, for as long as the process lives.
///
/// glibc does so only until the first of them is freed; then it takes the next from memory that was in use before.
/// The Parquet encoder allocates 1 MiB for each column of delta encoding in each open file, of which it writes a
/// twentieth: mapped, the rest is never resident (`make bench`, `worker_peak_memory`). To map costs a tenth of the CPU
/// time of `local`, which has no limit of memory to keep, and so leaves it.
pub(crate) fn map_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "mallopt has no safe wrapper; it may be called at any time")]
    // SAFETY: mallopt(3) takes two integers and touches only the allocator's own settings.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
