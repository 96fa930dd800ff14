package liveness

import (
	"bytes"
	"os"
	"strconv"
)

// lineSize is about how many bytes a lock takes in the kernel's list of all locks.
const lineSize = 64

// listed reports for each of the rows below n whether the kernel's list of all locks says that it is held; nil if that
// can't be told. The list names a file by a device, which may be another one than stat tells, and its inode.
func (r *Roll) listed(n int) []bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.next != nil { // another file is about to come in force
		return nil
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return nil
	}
	defer f.Close()
	// There is room for all from the beginning: for each read the kernel goes through its list from the first lock on.
	list := bytes.NewBuffer(make([]byte, 0, lineSize*(n+fewRows)))
	if _, err := list.ReadFrom(f); err != nil {
		return nil
	}
	return heldIn(list.Bytes(), r.now.id.Ino, n, r.now.isHeld)
}

// heldIn reads a list of locks for the rows below n. A lock of one file system's file with the inode is taken for ours if
// it is the only file of that inode in the list, and one of its locks is ours, as asking tells.
func heldIn(list []byte, ino uint64, n int, isHeld func(row int) bool) []bool {
	end := append([]byte(":"), strconv.FormatUint(ino, 10)...)
	var file []byte
	held, some := make([]bool, n), -1
	for line := range bytes.Lines(list) { // 5: OFDLCK ADVISORY  WRITE -1 fe:00:11936691 1 1
		var f [8][]byte
		count := 0
		for word := range bytes.FieldsSeq(line) {
			if count < len(f) {
				f[count] = word
			}
			count++
		}
		if count != len(f) || string(f[1]) != "OFDLCK" || string(f[3]) != "WRITE" || !bytes.HasSuffix(f[5], end) {
			continue
		}
		if file != nil && !bytes.Equal(file, f[5]) {
			return nil
		}
		file = f[5]
		if row, err := strconv.Atoi(string(f[6])); err == nil && row >= 0 && row < n && bytes.Equal(f[6], f[7]) {
			held[row], some = true, row
		}
	}
	if some < 0 || !isHeld(some) {
		return nil
	}
	return held
}
