package sysv

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/filemap"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// limit returns a kernel limit with its name, for messages.
func limit(name string) string { return fmt.Sprintf("%d (kernel.%s)", limitValue(name), name) }

func limitValue(name string) uint64 {
	b, _ := os.ReadFile("/proc/sys/kernel/" + name)
	n, _ := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	return n
}

func stat(id int, _ int32) (status, error) {
	var d unix.SysvShmDesc
	_, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d)
	return status{key: d.Perm.Key, size: uint64(d.Segsz), uid: int(d.Perm.Cuid), creatorPid: int(d.Cpid),
		users: uint64(d.Nattch)}, err
}

// namespace names the ipc namespace that this process is in.
func namespace() string {
	name, _ := os.Readlink("/proc/self/ns/ipc")
	return name
}

// List reads the kernel's own table, which shows no more than IPC_STAT would.
func (backend) List(ctx context.Context, life uuid.UUID, generation uint64) ([]dsmimpl.Object, error) {
	entries, err := table()
	if err != nil {
		return nil, errkind.Classify(err)
	}
	var found []dsmimpl.Object
	for _, e := range entries {
		if o, ok := recognize(e.id, e.status, life, generation); ok {
			found = append(found, o)
		}
	}
	return found, nil
}

// Abandoned lists the control segments of this user's that no process has attached; read tells from an object's bytes
// whether it is one, and of which life.
func (backend) Abandoned(_ context.Context, read func([]byte) (uuid.UUID, uint64, bool)) (found []dsmimpl.Object,
	err error) {
	entries, err := table()
	for _, e := range entries {
		if e.key == ipcPrivate || e.uid != os.Geteuid() || e.users > 0 || e.size%uint64(os.Getpagesize()) == 0 {
			continue
		}
		b, err := shmat(e.id, true)
		if err != nil {
			continue
		}
		life, generation, ok := read(b)
		_ = shmdt(b)
		o := dsmimpl.Object{Life: life, Generation: generation, Handle: dsmimpl.ControlHandle, Word: word(e.id)}
		if ok && ours(o, e.status) {
			found = append(found, o)
		}
	}
	return found, errkind.Classify(err)
}

// usedUp says which of two limits made the kernel refuse so many bytes more.
func usedUp(size int) string {
	entries, err := table()
	mni, all := limitValue("shmmni"), limitValue("shmall")
	page := uint64(os.Getpagesize())
	pages := (uint64(size) + page - 1) / page
	for _, e := range entries {
		pages += (e.size + page - 1) / page
	}
	switch {
	case err == nil && uint64(len(entries)) >= mni:
		return fmt.Sprintf("all %s segments are in use: raise that limit", limit("shmmni"))
	case err == nil && pages > all:
		return fmt.Sprintf("%d pages would be in use, the kernel allows %s: raise that limit", pages, limit("shmall"))
	}
	return fmt.Sprintf("the kernel allows %s segments and %s pages in all", limit("shmmni"), limit("shmall"))
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

func (backend) DetachGuarded(m dsmimpl.Mapping) error { return filemap.Guard(whole(m)) }

func (backend) Unguard(m dsmimpl.Mapping) error { return filemap.Unmap(whole(m)) }

// Swap needs no call of System V's: the kernel counts an object as detached when nothing of it is mapped any more.
func (backend) Swap(m dsmimpl.Mapping, from, to int) error {
	if to == len(m.Bytes) {
		to = cap(m.Bytes)
	}
	return filemap.Swap(m.Bytes[from:to])
}

func (backend) Unswap(m dsmimpl.Mapping) error { return filemap.Unmap(whole(m)) }

// whole returns the mapping with the rest of its object, which reaches beyond the bytes asked for.
func whole(m dsmimpl.Mapping) []byte { return m.Bytes[:cap(m.Bytes)] }
