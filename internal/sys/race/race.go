// Package race tells the race detector of the edges that a lock in shared memory makes: it sees neither mapped memory
// nor the atomics there, and would report what such a lock guards. In a build without -race nothing is left of it.
//
// An edge is named by where a word lies in its page, so that all mappings of the word in a process mean the same edge.
// Words at the same place of different pages share one: that can hide a race, never invent one.
package race
