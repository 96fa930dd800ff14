//go:build linux && !failpoint

package shared

func failpointArm(string) error { return nil }
