//go:build darwin || freebsd

package mq_test

import (
	"os"
	"testing"
)

func newFile(t testing.TB, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}
