//go:build !linux

package dsm_test

var swappers = []string{"posix", "mmap"}
