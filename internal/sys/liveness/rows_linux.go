package liveness

import (
	"bytes"
	"os"
	"strconv"
)

// listed returns the rows of which the kernel's list of all locks says that they are held; nil if that can't be told. The
// list names a file by a device, which may be another one than stat tells, and its inode.
func (r *Roll) listed() map[int]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.next != nil { // another file is about to come in force
		return nil
	}
	list, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	return heldIn(list, r.now.id.Ino, r.now.isHeld)
}

// heldIn reads a list of locks. A lock of one file system's file with the inode is taken for ours if it is the only file
// of that inode in the list, and one of its locks is ours, as asking tells.
func heldIn(list []byte, ino uint64, isHeld func(row int) bool) map[int]bool {
	end := append([]byte(":"), strconv.FormatUint(ino, 10)...)
	var file []byte
	rows := map[int]bool{}
	for line := range bytes.Lines(list) { // 5: OFDLCK ADVISORY  WRITE -1 fe:00:11936691 1 1
		f := bytes.Fields(line)
		if len(f) != 8 || string(f[1]) != "OFDLCK" || string(f[3]) != "WRITE" || !bytes.HasSuffix(f[5], end) {
			continue
		}
		if file != nil && !bytes.Equal(file, f[5]) {
			return nil
		}
		file = f[5]
		if row, err := strconv.Atoi(string(f[6])); err == nil && bytes.Equal(f[6], f[7]) {
			rows[row] = true
		}
	}
	for row := range rows {
		if isHeld(row) {
			return rows
		}
		return nil
	}
	return nil
}
