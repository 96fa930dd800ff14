//go:build !linux

package dsm_test

var lasting = []string{"posix", "mmap", "windows"}
