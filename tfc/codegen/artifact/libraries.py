"""Which library defines a function that compiled code calls.

Code that tfc emits may need the C library, the math library and threads, and nothing else: this
table is that promise. A function outside it (a helper of some compiler's runtime) is an error
when the artifact is written, not on the machine where it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable

from tfc.errors import ArtifactError

_C = """
    abort aligned_alloc calloc clock_gettime close dlopen dlsym exit fclose fflush fileno fopen fprintf fread free fsync
    fwrite getenv getpid madvise malloc memchr memcmp memcpy memmove
    memset munmap mmap mprotect nanosleep open posix_memalign printf puts qsort realloc remove rename sched_getaffinity
    sched_getcpu sched_setaffinity sched_yield snprintf stderr strcmp strlen strncmp strrchr strtod strtol syscall
    sysconf usleep write __errno_location
"""
_MATH = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 exp10 expm1 fabs
    fdim floor fma fmax fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2
    logb lrint lround modf nearbyint nextafter pow remainder rint round roundeven scalbn sin sincos
    sinh sqrt tan tanh tgamma trunc
"""
LIBC = frozenset(_C.split())
LIBM = frozenset(f"{name}{suffix}" for name in _MATH.split() for suffix in ("", "f"))
SONAMES = {"c": "libc.so.6", "m": "libm.so.6", "pthread": "libpthread.so.0"}


def needed(undefined: Iterable[str]) -> list[str]:
    """The libraries that define the functions ``undefined``: of "c", "m", "pthread", in order.

    Raises:
        ArtifactError: a function is in none of them.
    """
    found = {name: _library(name) for name in undefined}
    if unknown := sorted(name for name, library in found.items() if not library):
        raise ArtifactError(
            f"the code calls {', '.join(unknown)}, which no C library defines",
            help="a newer --cpu may have instructions for it" if _is_half(unknown) else "",
        )
    return sorted({*found.values()}, key=[*SONAMES].index)


def _library(name: str) -> str:
    if name in LIBM:
        return "m"
    if name.startswith("pthread_"):
        return "pthread"
    return "c" if name in LIBC else ""


def _is_half(names: Iterable[str]) -> bool:
    """Whether a conversion from or to 16-bit floats is among the compiler's helper functions."""
    return any(name.startswith(("__extendhf", "__trunc")) for name in names)
