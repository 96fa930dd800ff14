package registry_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
)

// TestDeleteFull: an area whose places are all taken can be deleted as any other, and goes when there is no process in
// it.
func TestDeleteFull(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	one := dsa.Options{Sessions: 1}
	old, err := registry.Area(ctx, s, "a", one)
	if err != nil {
		t.Fatal(err)
	}
	_, err = registry.Area(ctx, s, "a", one)
	is(t, "a second one", err, registry.ErrFull)
	is(t, "delete", registry.Delete(ctx, s, "a"), nil)
	is(t, "delete again", registry.Delete(ctx, s, "a"), registry.ErrNotFound)
	if _, err := old.Alloc(1); err != nil {
		t.Errorf("deleted from under its user: %v", err)
	}
	a, err := registry.Area(ctx, s, "a", one)
	if err != nil {
		t.Fatal(err)
	}
	is(t, "delete", errors.Join(a.Detach(), registry.Delete(ctx, s, "a"), old.Detach()), nil)
	if got := list(t, s); len(got) != 0 {
		t.Errorf("%q", got)
	}
	instancetest.OnlyRoot(t, cfg)
}

// fill brings the session to where it can attach nothing more, until empty is called.
func fill(t *testing.T, s *dsm.Session) (root *dsm.Segment, empty func() error) {
	t.Helper()
	root, err := s.Root(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := s.Owner().Child("filler")
	for err == nil {
		_, err = s.Create(ctx, owner, 1)
	}
	is(t, "one too many", err, dsm.ErrQuota)
	return root, owner.Abort
}

// TestDeleteFails: of what can't be removed the name is free all the same, and the next one tries again.
func TestDeleteFails(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(), "max_segments_per_process", "4")
	instancetest.Start(t, cfg)
	maker := instancetest.Open(t, cfg)
	if _, err := registry.Area(ctx, maker, "a", small); err != nil {
		t.Fatal(err)
	}
	is(t, "close", maker.Close(), nil)
	s := instancetest.Open(t, cfg)
	_, empty := fill(t, s)
	is(t, "delete", registry.Delete(ctx, s, "a"), dsm.ErrQuota)
	is(t, "delete again", registry.Delete(ctx, s, "a"), registry.ErrNotFound)
	is(t, "empty", empty(), nil)
	if got := list(t, s); len(got) != 0 {
		t.Errorf("%q", got)
	}
	instancetest.OnlyRoot(t, cfg)
}

// TestOrphanBesideMaking: a goroutine that waits for what another one of its session makes goes on to
// wait, though it finds the orphan of another name that can't be removed.
func TestOrphanBesideMaking(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(), "max_segments_per_process", "4")
	instancetest.Start(t, cfg)
	maker := instancetest.Open(t, cfg)
	if _, err := registry.Area(ctx, maker, "a", small); err != nil { // the table's row 0
		t.Fatal(err)
	}
	is(t, "close", maker.Close(), nil)
	s := instancetest.Open(t, cfg)
	made := make(chan error)
	begun, goOn := make(chan bool), make(chan bool)
	go func() {
		_, err := registry.Segment(ctx, s, "x", func(c *counter) error {
			close(begun)
			<-goOn
			return initOnce(c)
		})
		made <- err
	}()
	<-begun
	root, _ := fill(t, s)
	word := root.Bytes()[320:]
	orphan := binary.NativeEndian.Uint64(word)>>45<<45 | 3<<43 // going, by no process
	binary.NativeEndian.PutUint64(word, orphan)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := registry.Segment(short, s, "x", initOnce)
	is(t, "wait", err, context.DeadlineExceeded)
	if binary.NativeEndian.Uint64(word) == orphan {
		t.Error("it has not come upon the orphan")
	}
	close(goOn)
	is(t, "made", <-made, nil)
}
