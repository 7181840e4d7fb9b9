"""Where and in which number type networks compute, and making inputs ahead."""
