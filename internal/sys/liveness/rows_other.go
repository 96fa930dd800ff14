//go:build !linux

package liveness

func (r *Roll) listed(int) []bool { return nil }
