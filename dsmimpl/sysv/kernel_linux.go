package sysv

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// kernelLimit returns a kernel limit with its name, for messages.
func kernelLimit(name string) string {
	return fmt.Sprintf("%d (kernel.%s)", kernelLimitValue(name), name)
}

func kernelLimitValue(name string) uint64 {
	b, _ := os.ReadFile("/proc/sys/kernel/" + name)
	n, _ := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	return n
}

func kernelStat(id int, _ int32) (status, error) {
	var d unix.SysvShmDesc
	_, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d)
	return status{key: d.Perm.Key, size: uint64(d.Segsz), uid: int(d.Perm.Cuid), creatorPid: int(d.Cpid),
		users: uint64(d.Nattch)}, err
}

// kernelNamespace names the ipc namespace that this process is in.
func kernelNamespace() string {
	name, _ := os.Readlink("/proc/self/ns/ipc")
	return name
}

// kernelUsedUp says which of two limits made the kernel refuse so many bytes more.
func kernelUsedUp(size int) string {
	entries, err := table()
	mni, all := kernelLimitValue("shmmni"), kernelLimitValue("shmall")
	page := uint64(os.Getpagesize())
	pages := (uint64(size) + page - 1) / page
	for _, e := range entries {
		pages += (e.size + page - 1) / page
	}
	switch {
	case err == nil && uint64(len(entries)) >= mni:
		return fmt.Sprintf("all %s segments are in use: raise that limit", kernelLimit("shmmni"))
	case err == nil && pages > all:
		return fmt.Sprintf("%d pages would be in use, the kernel allows %s: raise that limit", pages, kernelLimit("shmall"))
	}
	return fmt.Sprintf("the kernel allows %s segments and %s pages in all", kernelLimit("shmmni"), kernelLimit("shmall"))
}

type entry struct {
	id int
	status
}

// table returns what the kernel lists for this IPC namespace.
func table() ([]entry, error) {
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return nil, err
	}
	return parseTable(text), nil
}

func parseTable(text []byte) (entries []entry) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var e entry
		var perms, lpid, uid, gid int
		_, err := fmt.Sscan(lines.Text(), &e.key, &e.id, &perms, &e.size, &e.creatorPid, &lpid,
			&e.users, &uid, &gid, &e.uid)
		if err == nil { // the heading is no entry
			entries = append(entries, e)
		}
	}
	return entries
}
