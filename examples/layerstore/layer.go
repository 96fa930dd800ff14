package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// A layer with digest D has two names in the store: blobs/D, which is what the registry has, and layers/D, a folder with its
// files. Both are made under names that end in .part.

func (s *store) blob(digest string) string  { return filepath.Join(s.Dir, "blobs", digest) }
func (s *store) files(digest string) string { return filepath.Join(s.Dir, "layers", digest) }

func (s *store) has(digest string) bool {
	_, err := os.Stat(s.files(digest))
	return err == nil
}

// fetch downloads and unpacks a layer. Its lock is held exclusively.
func (s *store) fetch(digest string, dieHalfway bool) error {
	answer, err := http.Get(s.URL + digest)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	part := s.blob(digest) + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if dieHalfway {
		_, _ = io.CopyN(f, answer.Body, 1000)
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {}
	}
	if _, err := io.Copy(io.MultiWriter(f, sum), answer.Body); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != digest {
		return fmt.Errorf("layer %s came as %s", digest, got)
	}
	if err := os.Rename(part, s.blob(digest)); err != nil {
		return err
	}
	part = s.files(digest) + ".part"
	err = s.each(digest, func(name string, content []byte) error {
		to := filepath.Join(part, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		return err
	}
	return os.Rename(part, s.files(digest))
}

// each calls f for each file of a layer's blob.
func (s *store) each(digest string, f func(name string, content []byte) error) error {
	b, err := os.Open(s.blob(digest))
	if err != nil {
		return err
	}
	defer b.Close()
	z, err := gzip.NewReader(b)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(t)
		if err == nil {
			err = f(h.Name, content)
		}
		if err != nil {
			return err
		}
	}
}

// check compares a layer's files with its blob, and that with its name.
func (s *store) check(digest string) error {
	b, err := os.ReadFile(s.blob(digest))
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(b); "sha256:"+hex.EncodeToString(sum[:]) != digest {
		return fmt.Errorf("blob %s has other bytes", digest)
	}
	return s.each(digest, func(name string, content []byte) error {
		is, err := os.ReadFile(filepath.Join(s.files(digest), filepath.FromSlash(name)))
		if err == nil && string(is) != string(content) {
			err = fmt.Errorf("layer %s: %s has %d other bytes", digest, name, len(is))
		}
		return err
	})
}

// remove removes a layer, and what a puller that died has left of it.
func (s *store) remove(digest string) error {
	errs := []error{os.RemoveAll(s.files(digest)), os.RemoveAll(s.files(digest) + ".part")}
	for _, path := range []string{s.blob(digest), s.blob(digest) + ".part"} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func short(digest string) string { return strings.TrimPrefix(digest, "sha256:")[:12] }
