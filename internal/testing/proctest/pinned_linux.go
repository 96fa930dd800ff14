package proctest

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// modes are two processes on one CPU, on one each, and where the scheduler puts them: what a
// wake-up costs depends on nothing so much.
var modes = []struct {
	name string
	cpus [2]int
}{{"same", [2]int{0, 0}}, {"diff", [2]int{0, 1}}, {"free", [2]int{-1, -1}}}

// Pinned runs f for this process and another one on one CPU ("same"), on one each ("diff") and on
// any ("free"). F calls pin when the other process is ready.
func Pinned(b *testing.B, f func(b *testing.B, pin func(p *Process))) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			if m.cpus[1] >= runtime.NumCPU() {
				b.Skip("skipped: one CPU only")
			}
			defer func() {
				all := make([]int, runtime.NumCPU())
				for i := range all {
					all[i] = i
				}
				pin(b, os.Getpid(), all...)
			}()
			f(b, func(p *Process) {
				if m.cpus[0] >= 0 {
					pin(b, os.Getpid(), m.cpus[0])
					pin(b, p.Pid, m.cpus[1])
				}
			})
		})
	}
}

// pin moves all threads of a process, which are few.
func pin(b *testing.B, pid int, cpus ...int) {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range threads {
		tid, _ := strconv.Atoi(t.Name())
		_ = unix.SchedSetaffinity(tid, &set) // it may have ended
	}
}
