package shmsync

import (
	"fmt"
	"strings"
)

// This file has the words in which locks name sessions to people, in errors. It looks and takes nothing, and what it
// says was true at some moment of the look.

// Name returns a text for people that names the session p: its row and incarnation, and what Who knows of it. It does
// not block longer than Who does.
func (s *Self) Name(p Peer) string {
	switch {
	case p == s.Peer:
		return fmt.Sprintf("this session itself (%v)", p)
	case s.Who != nil:
		return s.Who(p)
	}
	return fmt.Sprintf("session %v", p)
}

// sessionNames returns the names of a list of sessions, in its order.
func (s *Self) sessionNames(list []Peer) string {
	var all []string
	for _, p := range list {
		all = append(all, s.Name(p))
	}
	return strings.Join(all, ", ")
}
