package main

import (
	"github.com/godsm/godsm/internal/command/caches"
	"github.com/godsm/godsm/internal/command/inspect"
	"github.com/godsm/godsm/internal/command/locks"
	"github.com/godsm/godsm/internal/command/queues"
	"github.com/godsm/godsm/internal/command/upkeep"
)

// What commands print as JSON, by the names that the tests here have for it.
type (
	segmentRow   = inspect.SegmentRow
	verifyRow    = upkeep.VerifyRow
	lockRow      = locks.Row
	queueRow     = queues.Row
	cacheRow     = caches.Row
	cacheReport  = caches.Report
	topRow       = caches.RateRow
	replayResult = caches.ReplayResult

	cacheVerifyRow = caches.VerifyRow
	curveRow       = caches.CurveRow
)
