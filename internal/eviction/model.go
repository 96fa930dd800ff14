package eviction

// Model is a cache of hashes alone: it tells which accesses a cache would hit.
type Model struct {
	Policy
	limit int64
	index map[uint64]int32
	nodes []node
	free  int32 // the first of a chain by next
	logs  [2]chain
	hand  uint64
	drops uint64
}

type node struct {
	hash uint64
	size int64
	next int32
	hits uint8
}

// chain is a log; both ends are -1 if it is empty.
type chain struct {
	oldest, newest int32
	bytes          int64
}

// NewModel returns an empty cache with that limit, in the unit of the sizes of Access, which has about so many entries
// when it is full.
func NewModel(limit int64, entries int, s Setting) *Model {
	m := &Model{limit: limit, index: make(map[uint64]int32, entries), free: -1}
	m.logs = [2]chain{{-1, -1, 0}, {-1, -1, 0}}
	m.Setting = s
	m.Sketch = NewSketch(make([]uint64, SketchWords(entries)), &m.hand)
	m.Ghost = NewGhost(make([]uint32, GhostWords(entries)), &m.drops)
	return m
}

// Access looks an entry up and, if it is not there, adds it. It reports whether it was there.
func (m *Model) Access(hash uint64, size int) bool {
	if i, ok := m.index[hash]; ok {
		m.nodes[i].hits = min(m.nodes[i].hits+1, MaxHits)
		return true
	}
	if int64(size) > m.limit {
		return false
	}
	log := m.Enter(m, Entry{Hash: hash, Size: size})
	for m.logs[Window].bytes+m.logs[Main].bytes+int64(size) > m.limit && m.Step(m) {
	}
	i := m.free
	if i >= 0 {
		m.free = m.nodes[i].next
	} else {
		i = int32(len(m.nodes))
		m.nodes = append(m.nodes, node{})
	}
	m.nodes[i] = node{hash: hash, size: int64(size)}
	m.index[hash] = i
	m.push(log, i)
	return false
}

// Len returns the number of entries.
func (m *Model) Len() int { return len(m.index) }

// Bytes implements Store.
func (m *Model) Bytes(l Log) int64 { return m.logs[l].bytes }

// Limit implements Store.
func (m *Model) Limit() int64 { return m.limit }

// Mean implements Store.
func (m *Model) Mean() int {
	return int((m.logs[Window].bytes + m.logs[Main].bytes) / int64(max(len(m.index), 1)))
}

// Oldest implements Store.
func (m *Model) Oldest(l Log) (Entry, bool) {
	i := m.logs[l].oldest
	if i < 0 {
		return Entry{}, false
	}
	n := &m.nodes[i]
	return Entry{n.hash, int(n.size), int(n.hits)}, true
}

// Move implements Store.
func (m *Model) Move(from, to Log, hits int) {
	i := m.pop(from)
	m.nodes[i].hits = uint8(hits)
	m.push(to, i)
}

// Drop implements Store.
func (m *Model) Drop(l Log) {
	i := m.pop(l)
	delete(m.index, m.nodes[i].hash)
	m.nodes[i].next, m.free = m.free, i
}

func (m *Model) pop(l Log) int32 {
	c := &m.logs[l]
	i := c.oldest
	c.oldest = m.nodes[i].next
	if c.oldest < 0 {
		c.newest = -1
	}
	c.bytes -= m.nodes[i].size
	return i
}

func (m *Model) push(l Log, i int32) {
	c := &m.logs[l]
	m.nodes[i].next = -1
	if c.newest < 0 {
		c.oldest = i
	} else {
		m.nodes[c.newest].next = i
	}
	c.newest = i
	c.bytes += m.nodes[i].size
}
