package dsa

// load is what session i sees of a word: its own store that waits, or memory.
func (s *modelState) load(i int, word uint8) uint8 {
	q := &s.sessions[i]
	for k := int(q.buffered) - 1; k >= 0; k-- {
		if q.buffer[k].word == word {
			return q.buffer[k].value
		}
	}
	return s.word[word]
}

func (s *modelState) store(i int, word, value uint8) {
	q := &s.sessions[i]
	if int(q.buffered) == len(q.buffer) {
		s.drain(i)
	}
	q.buffer[q.buffered] = modelStore{word, value}
	q.buffered++
}

// drain has the oldest store of a session seen.
func (s *modelState) drain(i int) {
	q := &s.sessions[i]
	s.word[q.buffer[0].word] = q.buffer[0].value
	copy(q.buffer[:], q.buffer[1:])
	q.buffered--
	q.buffer[q.buffered] = modelStore{}
}

func (s *modelState) flush(i int) {
	for s.sessions[i].buffered > 0 {
		s.drain(i)
	}
}

func (s *modelState) note(i int, v uint8) { s.store(i, wNote0+uint8(i), v) }

func (s *modelState) over(i int) {
	q := &s.sessions[i]
	q.op, q.at, q.used, q.block = opIdle, 0, 0, 0
}
