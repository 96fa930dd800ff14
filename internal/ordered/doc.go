// Package ordered stores words that others see whole and in the order of the stores, as all stores of an amd64 processor
// are; an atomic store would wait for the store buffer as well, which costs as much as a lock. It is for a word that one writer at a time has, and
// orders nothing with a later load. A process that is killed has made all its stores up to one instruction, and none after it.
package ordered
