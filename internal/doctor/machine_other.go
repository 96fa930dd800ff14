//go:build !(linux || darwin || freebsd)

package doctor

func usage(string) (size, free uint64) { return 0, 0 }

func writable(string) error { return nil }
