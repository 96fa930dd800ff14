package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/locktable/compat"
)

// place says where a store is, and where it pulls from.
type place struct {
	Dir, URL string
	OneLock  bool // one lock for all layers, as older stores have
}

// store is a store of images as one process sees it. What it does to a layer is under the lock ("layers", digest), and to an
// image under ("images", name).
type store struct {
	place
	table *locktable.Table
	locks *compat.Store
}

func openStore(ctx context.Context, s *dsm.Session, p place) (*store, error) {
	for _, dir := range []string{"blobs", "layers", "images"} {
		if err := os.MkdirAll(filepath.Join(p.Dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	t, err := locktable.Open(ctx, s, "layerstore", locktable.Options{})
	if err != nil {
		return nil, err
	}
	locks, err := compat.Open(ctx, t, filepath.Join(p.Dir, "storage.lock"), compat.Options{})
	return &store{place: p, table: t, locks: locks}, err
}

// layerLock is the path of the lock that guards a layer.
func (s *store) layerLock(digest string) []string {
	if s.OneLock {
		return []string{"layers"}
	}
	return []string{"layers", digest}
}

// pull gets what is missing of an image, and then names it.
func (s *store) pull(ctx context.Context, m manifest, dieAt string) error {
	ctx, owner := s.locks.As(ctx, "pull "+m.Name)
	defer owner.Done()
	for {
		for i, digest := range m.Layers {
			owner.Note(fmt.Sprintf("pull %s: layer %d of %d", m.Name, i+1, len(m.Layers)))
			if err := s.pullLayer(ctx, digest, digest == dieAt); err != nil {
				return err
			}
		}
		wants := []locktable.Want{{Mode: locktable.Exclusive, Path: []string{"images", m.Name}}}
		for _, digest := range m.Layers {
			wants = append(wants, locktable.Want{Mode: locktable.Shared, Path: s.layerLock(digest)})
		}
		holds, err := s.locks.LockMany(ctx, wants...)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(m.Layers, func(digest string) bool { return !s.has(digest) }) {
			if err = s.write(m); err == nil {
				_, err = holds.Changed(0)
			}
			return errors.Join(err, holds.Unlock())
		}
		if err := holds.Unlock(); err != nil { // one was removed again: it belonged to no image
			return err
		}
	}
}

// pullLayer gets a layer, unless it is there. Of several who want it one gets it, and the others find it.
func (s *store) pullLayer(ctx context.Context, digest string, dieHalfway bool) (err error) {
	h, err := s.locks.Lock(ctx, locktable.Exclusive, s.layerLock(digest)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Unlock()) }()
	if d, died := h.Recovered(); died {
		if !s.has(digest) {
			fmt.Printf("  process %d died while it did %q: what it left of layer %s is removed\n", d.Pid, d.Note, short(digest))
			if err := s.remove(digest); err != nil {
				return err
			}
		}
		if err := h.Repaired(); err != nil {
			return err
		}
	}
	if s.has(digest) {
		return nil
	}
	if err := s.fetch(digest, dieHalfway); err != nil {
		return err
	}
	_, err = h.Changed()
	return err
}

// run uses an image for a while: its layers stay, whatever others do.
func (s *store) run(ctx context.Context, name string, d time.Duration) (err error) {
	ctx, owner := s.locks.As(ctx, "run "+name)
	defer owner.Done()
	h, err := s.locks.Lock(ctx, locktable.Shared, "images", name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Unlock()) }()
	m, err := s.read(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var wants []locktable.Want
	for _, digest := range m.Layers {
		wants = append(wants, locktable.Want{Mode: locktable.Shared, Path: s.layerLock(digest)})
	}
	layers, err := s.locks.LockMany(ctx, wants...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layers.Unlock()) }()
	for _, digest := range m.Layers {
		if err := s.check(digest); err != nil {
			return fmt.Errorf("run %s: %w", name, err)
		}
	}
	time.Sleep(d)
	return nil
}

// rm removes an image, and the layers that belong to no other one.
func (s *store) rm(ctx context.Context, name string) error {
	ctx, owner := s.locks.As(ctx, "rm "+name)
	defer owner.Done()
	h, err := s.locks.Lock(ctx, locktable.Exclusive, "images", name)
	if err != nil {
		return err
	}
	m, err := s.read(name)
	if err == nil {
		err = os.Remove(s.manifest(name))
	}
	if err == nil {
		_, err = h.Changed()
	}
	if err := errors.Join(err, h.Unlock()); err != nil {
		return err
	}
	for _, digest := range m.Layers {
		holds, err := s.locks.LockMany(ctx, locktable.Want{Mode: locktable.Exclusive, Path: s.layerLock(digest)},
			locktable.Want{Mode: locktable.Shared, Path: []string{"images"}})
		if err != nil {
			return err
		}
		used, err := s.used(digest)
		if err == nil && !used {
			err = s.remove(digest)
		}
		if err := errors.Join(err, holds.Unlock()); err != nil {
			return err
		}
	}
	return nil
}

// ls lists the images. It waits for those that are being written or removed, and not for layers.
func (s *store) ls(ctx context.Context) (list []manifest, err error) {
	h, err := s.locks.Lock(ctx, locktable.Shared, "images")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Unlock()) }()
	return s.images()
}

// fsck has the whole store to itself: it compares all there is, and removes what pullers that died have left.
func (s *store) fsck(ctx context.Context) (err error) {
	all, err := s.locks.Whole(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.Unlock()) }()
	images, err := s.images()
	if err != nil {
		return err
	}
	for _, m := range images {
		for _, digest := range m.Layers {
			if err := s.check(digest); err != nil {
				return fmt.Errorf("fsck: image %s: %w", m.Name, err)
			}
		}
	}
	for _, dir := range []string{"blobs", "layers"} {
		entries, err := os.ReadDir(filepath.Join(s.Dir, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			digest := strings.TrimSuffix(e.Name(), ".part")
			if used, err := s.used(digest); err != nil {
				return err
			} else if !used || digest != e.Name() {
				if err := os.RemoveAll(filepath.Join(s.Dir, dir, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return errors.Join(s.table.RepairedAll(ctx), all.Changed())
}

func (s *store) manifest(name string) string { return filepath.Join(s.Dir, "images", name+".json") }

func (s *store) write(m manifest) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	part := s.manifest(m.Name) + ".part"
	if err := os.WriteFile(part, b, 0o600); err != nil {
		return err
	}
	return os.Rename(part, s.manifest(m.Name))
}

func (s *store) read(name string) (m manifest, err error) {
	b, err := os.ReadFile(s.manifest(name))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

func (s *store) images() (list []manifest, err error) {
	paths, err := filepath.Glob(filepath.Join(s.Dir, "images", "*.json"))
	for _, path := range paths {
		m, e := s.read(strings.TrimSuffix(filepath.Base(path), ".json"))
		list, err = append(list, m), errors.Join(err, e)
	}
	return list, err
}

// used reports whether an image has the layer.
func (s *store) used(digest string) (bool, error) {
	images, err := s.images()
	return slices.ContainsFunc(images, func(m manifest) bool { return slices.Contains(m.Layers, digest) }), err
}
