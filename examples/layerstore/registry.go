package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// registry serves layers over HTTP, slowly, and counts.
type registry struct {
	url    string
	server *http.Server
	layers []string // digests

	mu    sync.Mutex
	blobs map[string][]byte
	whole map[string]int // how often a layer was taken to its end
}

const (
	latency = 25 * time.Millisecond // of a layer, before its first byte and before its second half
	maxFile = 128 << 10
	maxSize = 256 << 10 // of a layer's files
)

// newRegistry packs n layers and serves them.
func newRegistry(n int) (*registry, error) {
	dirs, err := sources(n)
	if err != nil {
		return nil, err
	}
	r := &registry{blobs: map[string][]byte{}, whole: map[string]int{}}
	for _, dir := range dirs {
		blob, err := pack(dir)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(blob)
		digest := "sha256:" + hex.EncodeToString(sum[:])
		r.layers = append(r.layers, digest)
		r.blobs[digest] = blob
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.url = "http://" + l.Addr().String() + "/"
	r.server = &http.Server{Handler: http.HandlerFunc(r.serve)}
	go func() { _ = r.server.Serve(l) }()
	return r, nil
}

func (r *registry) serve(w http.ResponseWriter, q *http.Request) {
	digest := strings.TrimPrefix(q.URL.Path, "/")
	r.mu.Lock()
	blob := r.blobs[digest]
	r.mu.Unlock()
	if blob == nil {
		http.NotFound(w, q)
		return
	}
	for _, half := range [][]byte{blob[:len(blob)/2], blob[len(blob)/2:]} {
		time.Sleep(latency)
		if _, err := w.Write(half); err != nil || http.NewResponseController(w).Flush() != nil || q.Context().Err() != nil {
			return
		}
	}
	r.mu.Lock()
	r.whole[digest]++
	r.mu.Unlock()
}

// downloads returns how many layers were taken, and how many of these more than once, and forgets them.
func (r *registry) downloads() (all, again int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.whole {
		all += n
		if n > 1 {
			again++
		}
	}
	r.whole = map[string]int{}
	return all, again
}

// sources finds n directories with source code: of the module cache and, if those are too few, of Go's own.
func sources(n int) (dirs []string, err error) {
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	enough := errors.New("enough")
	for root := range strings.Lines(string(out)) {
		if root = strings.TrimSpace(root); root == "" {
			continue
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || !d.IsDir():
				return nil
			case path == filepath.Join(root, "cache") || d.Name() == "testdata":
				return fs.SkipDir
			}
			if files, _ := filepath.Glob(filepath.Join(path, "*.go")); len(files) > 3 {
				dirs = append(dirs, path)
			}
			if len(dirs) == n {
				return enough
			}
			return nil
		})
		if err == enough {
			return dirs, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("there is neither a module cache nor Go's source code to make layers of")
}

// pack makes a layer of a directory's files.
func pack(dir string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	left := maxSize
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if !f.Type().IsRegular() || err != nil || len(content) > min(maxFile, left) {
			continue
		}
		left -= len(content)
		name := filepath.ToSlash(filepath.Join(filepath.Base(dir), f.Name()))
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := t.Write(content); err != nil {
			return nil, err
		}
	}
	// Two directories may have the same files: a layer is what it is named for.
	if err := t.WriteHeader(&tar.Header{Name: "FROM", Mode: 0o644, Size: int64(len(dir))}); err != nil {
		return nil, err
	}
	if _, err := t.Write([]byte(dir)); err != nil {
		return nil, err
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// manifest is an image: its layers, from the base up.
type manifest struct {
	Name   string
	Layers []string
}

// image makes a manifest of the registry's layers with those numbers.
func (r *registry) image(name string, layers ...int) manifest {
	m := manifest{Name: name}
	for _, i := range layers {
		m.Layers = append(m.Layers, r.layers[i])
	}
	return m
}

func numbers(from, to int) []int {
	return slices.Collect(func(yield func(int) bool) {
		for i := from; i < to && yield(i); i++ {
		}
	})
}
