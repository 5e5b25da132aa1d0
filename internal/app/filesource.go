package app

import (
	"context"
	"sync"

	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/file"
)

// fileSource is a file of webhooks in place of a control plane.
type fileSource struct {
	path    string
	watcher *file.Watcher

	mu       sync.Mutex
	rejected []rejection
}

// startFile applies the file before the sidecar opens its doors, then follows its changes.
func (s *Sidecar) startFile(ctx context.Context) error {
	f := &fileSource{path: s.cfg.ConfigFile}
	first := make(chan error, 1) // of the first apply
	f.watcher = file.New(f.path, func(rs []*xds.Resource) error {
		err := s.applyFile(f, rs)
		offer(first, err)
		return err
	}, file.Options{Logger: s.log.With("part", "file")})
	s.source = f
	ended := make(chan error, 1) // when the watcher fails before it applies anything
	s.parts.background("webhooks file", s.fail, func(ctx context.Context) error {
		err := f.watcher.Run(ctx)
		ended <- err
		return err
	})
	select {
	case err := <-first:
		return err
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// applyFile applies the resources that this sidecar can carry out and remembers the others.
func (s *Sidecar) applyFile(f *fileSource, rs []*xds.Resource) error {
	good := make([]*xds.Resource, 0, len(rs))
	var bad []rejection
	for _, r := range rs {
		if err := s.check(r); err != nil {
			bad = append(bad, rejection{Resource: r.Name, Reason: err.Error()})
			s.log.Error("refused a webhook of the file; the others apply", "resource", r.Name, "err", err)
			continue
		}
		good = append(good, r)
	}
	if err := s.apply(xds.NewSnapshot(good)); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rejected = bad
	return nil
}

func (f *fileSource) status() sourceStatus {
	return sourceStatus{Kind: "file", From: f.path, Connected: true, LastError: f.watcher.Status().Error}
}

func (f *fileSource) rejections() []rejection {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rejected
}

// resources is empty: what a file holds is live or rejected.
func (f *fileSource) resources() []any { return nil }
