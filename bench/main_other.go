//go:build !linux

// Command bench measures godsm and its rivals. It runs on Linux only: it pins processes to CPUs and reads /proc.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it runs on Linux only")
	os.Exit(1)
}
