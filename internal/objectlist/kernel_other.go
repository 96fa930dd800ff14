//go:build !windows

package osobjects

func named(string) []string { return nil }
