// Package swaptest has segments for tests of what lies in them: memory of the system, of which each attachment has a
// mapping of its own with a View, which the end of its Session swaps for private zeros at any moment that the test
// chooses, as package dsm does when a session is closed.
package swaptest
