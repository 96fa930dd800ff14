// Package atomicfile keeps small values in files that are whole or absent: JSON for people, sealed by a checksum,
// written beside the file, synced and renamed. A file that was cut or garbled is an error, never half a value.
package atomicfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/folder"
)

// ErrGarbage says that a file is there but not what Write wrote.
var ErrGarbage = errors.New("not what was written there")

const maxSize = 1 << 20

// Write replaces the file at path by v. There must be no other writer.
func Write(path string, v any) error {
	dir, err := folder.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return WriteIn(dir, filepath.Base(path), v)
}

// WriteIn is Write for a file of a directory that is held open.
func WriteIn(dir *folder.Folder, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temp := name + ".new"
	if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a writer that died in the middle
		return fmt.Errorf("%s is in the way: remove it (%w)", dir.Join(temp), err)
	}
	if err = failpoint.Err("atomicfile/write"); err != nil {
		return &fs.PathError{Op: "write", Path: dir.Join(temp), Err: err}
	}
	f, err := dir.Open(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	failpoint.Hit("atomicfile/write/made")
	_, err = fmt.Fprintf(f, "%s\n%s", b, seal(b))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		failpoint.Hit("atomicfile/write/synced")
		err = replace(dir, temp, name)
	}
	if err != nil {
		_ = dir.Remove(temp)
		if info, lerr := dir.Lstat(name); lerr == nil && info.Type == fs.ModeDir {
			return fmt.Errorf("%s is a directory where a file belongs: remove it (%w)", dir.Join(name), err)
		}
		return err
	}
	failpoint.Hit("atomicfile/write/renamed")
	return dir.Sync()
}

// Read fills v from the file at path, which must be a regular file. A missing one is
// fs.ErrNotExist, a damaged one ErrGarbage.
func Read(path string, v any) error {
	dir, err := folder.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return ReadIn(dir, filepath.Base(path), v)
}

// ReadIn is Read for a file of a directory that is held open.
func ReadIn(dir *folder.Folder, name string, v any) error {
	b, err := ReadSmallIn(dir, name)
	if err != nil {
		return err
	}
	at := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n')
	if at < 0 || seal(b[:at]) != string(b[at+1:]) {
		return fmt.Errorf("%s: %w", dir.Join(name), ErrGarbage)
	}
	if err := json.Unmarshal(b[:at], v); err != nil {
		return fmt.Errorf("%s: %w: %w", dir.Join(name), ErrGarbage, err)
	}
	return nil
}

// ReadSmall reads a regular file of at most 1 MiB that no process but this user, root and its
// directory's owner can have written. Something else under the name (a FIFO, a directory, a
// symbolic link) is an error at once, and is not waited for.
func ReadSmall(path string) ([]byte, error) {
	dir, err := folder.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return ReadSmallIn(dir, filepath.Base(path))
}

// ReadSmallIn is ReadSmall for a file of a directory that is held open.
func ReadSmallIn(dir *folder.Folder, name string) ([]byte, error) {
	path := dir.Join(name)
	f, err := open(dir, name)
	if err != nil {
		if info, lerr := dir.Lstat(name); lerr == nil && info.Type == fs.ModeSymlink {
			return nil, fmt.Errorf("%s is a symbolic link, which is not followed: put the file itself there: %w",
				path, ErrGarbage)
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: remove it: %w", path, ErrGarbage)
	}
	if err := trusted(dir, path, info); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(b) > maxSize {
		err = fmt.Errorf("%s: larger than %d bytes: %w", path, maxSize, ErrGarbage)
	}
	return b, err
}

func seal(b []byte) string { return fmt.Sprintf("crc32 %08x\n", crc32.ChecksumIEEE(b)) }
