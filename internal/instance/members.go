package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/google/uuid"
)

// errMembers is for a members file that is missing, or not the one in force: while a supervisor lives, another one comes
// in force within seconds.
var errMembers = errkind.As(errkind.Corrupt, errors.New("members file"))

// openMembersRoll opens the members file that the control segment, which is mapped, says is in force.
func (b *Books) openMembersRoll() (err error) {
	if b.Roll, err = liveness.OpenIn(b.Dir.Folder, b.Record.membersFile()); err != nil {
		return fmt.Errorf("%w: %w", errMembers, err)
	}
	b.heedMembersInForce()
	if ino, err := b.Table.Members(); err != nil || b.Roll.Identity() != (liveness.Identity{Dev: b.Table.MembersDev, Ino: ino}) {
		return fmt.Errorf("%w: %s is not the one that the control segment names", errMembers,
			b.Dir.file(b.Record.membersFile()))
	}
	return nil
}

// heedMembersInForce has the Roll ask the books which members file is in force.
func (b *Books) heedMembersInForce() {
	t := b.Table
	b.Roll.Heed(func() (ino uint64, ok bool) {
		ino, err := t.Members()
		return ino, err == nil
	})
}

// MembersLost reports whether newcomers find another members file than this process's or its successor, or none.
func (b *Books) MembersLost() bool {
	info, err := b.Dir.Lstat(b.Record.membersFile())
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	if info.Type != 0 || runtime.GOOS == "windows" {
		return info.Type != 0
	}
	next, ok := b.Roll.Successor()
	return info.Identity != b.Roll.Identity() && (!ok || info.Ino != next)
}

// membersLost reports whether the control segment of a life can be read, and names another members file than is found.
func (d *Dir) membersLost(ctx context.Context, r Record, backend dsmimpl.Backend) bool {
	books, err := d.OpenBooks(ctx, r, backend, dsmimpl.ReadOnly)
	if err == nil {
		books.Close()
	}
	return errors.Is(err, errMembers)
}

// removeMembers removes a life's members file, with the files of its rows where there are such.
func (d *Dir) removeMembers(r Record) {
	names, _ := d.Names()
	for _, name := range names {
		if strings.HasPrefix(name, r.membersFile()+".") {
			_ = d.Folder.Remove(name)
		}
	}
	_ = d.Folder.Remove(r.membersFile())
}

// MembersPending reports whether there is a successor of the members file that is not in force yet.
func (b *Books) MembersPending() bool {
	_, ok := b.Roll.Successor()
	return ok
}

// RenewMembers has a successor come in force in the place of a members file that was removed or replaced, as far as
// that can be done now: it is called again until MembersPending and MembersLost are false. Behind are the sessions that
// hold it up, since they have not taken their rows in it. The supervisor calls it or, while none lives, the first of the
// sessions. On a system without successors it is ErrUnsupported.
func (m *Member) RenewMembers(ctx context.Context) (behind []control.ProcessInfo, err error) {
	if m.Books.MembersLost() {
		if err := m.Books.Roll.Renew(); err != nil {
			return nil, err
		}
	}
	ino, ok := m.Books.Roll.Successor()
	if !ok {
		return nil, nil
	}
	rows, err := m.Self.Succeed(ctx, ino, m.Books.Roll.Succeeded)
	if err == nil && len(rows) == 0 {
		return nil, m.Books.Roll.Follow()
	}
	m.Books.Table.TellMembers()
	list, _ := m.Books.Table.Processes()
	for _, p := range list {
		for _, row := range rows {
			if p.Row == row {
				behind = append(behind, p)
			}
		}
	}
	return behind, err
}

// FollowMembers takes this session's row in a successor of the members file, if there is one.
func (m *Member) FollowMembers() error { return m.Books.Roll.Follow() }

// lifeOfMembersFile returns what a members file's name tells of its life. Of an earlier version it is the generation
// alone.
func lifeOfMembersFile(name string, id identity, known bool) (r Record, ok bool) {
	rest, ok := strings.CutPrefix(name, membersPrefix)
	if !ok {
		return r, false
	}
	if life, ok := dsmimpl.ParseLifeText(rest); ok {
		return Record{Life: life}, life != uuid.Nil
	}
	n, err := strconv.ParseUint(rest, 10, 64)
	r = Record{Instance: id.Instance, Life: id.Instance, Layout: lastUnnamedLayout, Generation: n}
	return r, known && err == nil && recordGenerationIsPlausible(n) && r.membersFile() == name
}
