//go:build !windows

package objectlist

func objectsNamed(string) []string { return nil }
