//! The only unsafe code of the project: system calls, each behind a safe function.
