// Package viewtest has bytes whose view a test ends, and which it swaps for private pages then, as package dsm does at a
// Detach. The test sees the same bytes by a second mapping, as another process would.
package viewtest
