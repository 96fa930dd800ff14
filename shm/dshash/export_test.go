package dshash

// Lockless is whether Get goes without the lock in this build.
const Lockless = lockless
