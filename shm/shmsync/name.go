package shmsync

import (
	"fmt"
	"strings"
)

// This file has the words in which locks name sessions to people, in errors. It looks and takes nothing, and what it says
// was true at some moment of the look.

// Name returns a text for people that names the session p: its row and incarnation, and what Who knows of it. It does not
// block longer than Who does.
func (s *Self) Name(p Peer) string {
	switch {
	case p == s.Peer:
		return fmt.Sprintf("this session itself (%v)", p)
	case s.Who != nil:
		return s.Who(p)
	}
	return fmt.Sprintf("session %v", p)
}

// names returns the names of a list of sessions, in its order.
func (s *Self) names(list []Peer) string {
	var all []string
	for _, p := range list {
		all = append(all, s.Name(p))
	}
	return strings.Join(all, ", ")
}

// waited returns the error of a wait for the lock that has ended with cause: it names the sessions that hold the lock, and
// says how many others wait. After the end of the view it returns the cause alone, since the word can't be read.
func (l *LWLock) waited(cause error) error {
	s := l.Status()
	if l.view.Ended() || l.bytes.Ended() {
		return cause
	}
	held := "held by no living session"
	switch {
	case len(s.Exclusive) > 0 && s.Exclusive[0] == l.me.Peer && len(s.Shared) > 0, len(s.Exclusive) == 0 && len(s.Shared) > 0:
		held = "held shared by " + l.me.names(s.Shared)
	case len(s.Exclusive) > 0 && len(s.Shared) > 0:
		held = fmt.Sprintf("%s is next, and waits for %s", l.me.Name(s.Exclusive[0]), l.me.names(s.Shared))
	case len(s.Exclusive) > 0:
		held = "held by " + l.me.Name(s.Exclusive[0])
	}
	others := 0
	for _, w := range s.Waiting {
		if w.Peer != l.me.Peer {
			others++
		}
	}
	if others > 0 {
		held += fmt.Sprintf("; other sessions that wait: %d", others)
	}
	return fmt.Errorf("the lock is %s: %w", held, cause)
}
