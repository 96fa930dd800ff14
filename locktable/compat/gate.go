//go:build linux

package compat

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// gate keeps new owners from locking while one who wants the whole file waits. Its fields are under the file's mu.
type gate struct {
	partial bool // /proc/locks does not show all who wait
	shut    bool
	from    time.Time // since when it is shut
	open    time.Time // until when it stays open whoever waits
	looked  time.Time
	seen    bool      // one waited at looked
	since   time.Time // for how long the file has been locked without a break
	pause   time.Time // until when a waiter that is not seen may come
}

const (
	gateFor    = time.Second           // for which it is shut, and then open, at most
	lookEvery  = 50 * time.Millisecond // while it is open
	lookShut   = 5 * time.Millisecond  // while it is shut
	breakEvery = 10 * time.Second      // of holding, where waiters are not seen
	breakFor   = 20 * time.Millisecond
)

// closedLocked reports whether an owner that holds nothing is to wait.
func (g *gate) closedLocked(f *file) bool {
	now := time.Now()
	switch {
	case now.Before(g.pause):
		return true
	case now.Before(g.open):
		g.shut = false
		return false
	}
	every := lookEvery
	if g.shut {
		every = lookShut
	}
	if now.Sub(g.looked) >= every {
		g.looked, g.seen = now, waits(f)
	}
	unseen := g.partial && f.state == shared && now.Sub(g.since) >= breakEvery
	switch {
	case !g.seen && !unseen:
		g.shut = false
	case !g.shut:
		g.shut, g.from = true, now
	case now.Sub(g.from) >= gateFor:
		g.shut, g.open = false, now.Add(gateFor)
		g.since = now
	}
	return g.shut
}

// releasedLocked leaves time for one that waits and is not seen.
func (g *gate) releasedLocked() {
	if g.partial && g.shut && !g.seen {
		g.pause = time.Now().Add(breakFor)
		g.shut = false
	}
}

// waits reports whether one waits for the lock file: another process of this package, or in the kernel.
func waits(f *file) bool {
	if inTheWay(f.guard, unix.F_WRLCK, 1, 1) != 0 {
		return true
	}
	b, err := os.ReadFile("/proc/locks")
	return err == nil && waitsIn(b, f.inode)
}

// waitsIn reports whether /proc/locks has one that waits for an inode: "1: -> POSIX ADVISORY WRITE 77 08:01:131 0 EOF". The
// device is not compared, which on some file systems is another one there: to see too much costs a second at most.
func waitsIn(locks []byte, inode uint64) bool {
	end := []byte(":" + strconv.FormatUint(inode, 10) + " ")
	for line := range bytes.Lines(locks) {
		if bytes.Contains(line, []byte(" -> ")) && bytes.Contains(line, end) {
			return true
		}
	}
	return false
}

// inPidNamespace reports whether this process is in another pid namespace than the first, in which /proc/locks shows no one
// from outside.
func inPidNamespace() bool {
	const first = "pid:[4026531836]"
	name, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || name != first
}

// network reports whether a file is on a file system whose locks may be known to this machine alone, or to no one.
func network(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) != nil || networkType(uint32(st.Type))
}

func networkType(magic uint32) bool {
	switch magic {
	case 0x6969, // NFS
		0x517b, 0xff534d42, 0xfe534d42, // SMB
		0x65735546, // FUSE
		0x01021997, // 9p
		0x0bd00bd0, // Lustre
		0x00c36400, // Ceph
		0x5346414f, // AFS
		0x47504653: // GPFS
		return true
	}
	return false
}
