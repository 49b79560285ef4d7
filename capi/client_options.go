package main

// #include "aperture.h"
import "C"

import (
	"math"
	"time"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/guest"
	"github.com/libaperture/libaperture/core"
)

// clientOptions reads the options of a client.
func clientOptions(in *C.aperture_client_options) (options core.Options, maxPending uint64, err error) {
	if in == nil {
		return options, 0, invalidArgument("options: must not be NULL")
	}
	if err := sized("options", unsafe.Pointer(in), in.struct_size, abi.SmallestClientOptions, C.sizeof_aperture_client_options); err != nil {
		return options, 0, err
	}
	given := whole(in, in.struct_size)
	in = &given
	for _, field := range []struct {
		name string
		in   C.aperture_text
		to   *string
	}{
		{"options.address", in.address, &options.Address},
		{"options.api_key", in.api_key, &options.APIKey},
		{"options.ca_file", in.ca_file, &options.CAFile},
		{"options.server_name", in.server_name, &options.ServerName},
		{"options.user_agent", in.user_agent, &options.UserAgent},
		{"options.ca_pem", in.ca_pem, &options.CAPEM},
		{"options.client_certificate_file", in.client_certificate_file, &options.ClientCertFile},
		{"options.client_key_file", in.client_key_file, &options.ClientKeyFile},
		{"options.client_certificate_pem", in.client_certificate_pem, &options.ClientCertPEM},
		{"options.client_key_pem", in.client_key_pem, &options.ClientKeyPEM},
	} {
		if *field.to, err = text(field.name, field.in); err != nil {
			return options, 0, err
		}
	}
	if options.Insecure, err = boolean("options.insecure", in.insecure); err != nil {
		return options, 0, err
	}
	if options.TelemetryOff, err = boolean("options.telemetry_off", in.telemetry_off); err != nil {
		return options, 0, err
	}
	if options.SkipVerify, err = boolean("options.skip_verify", in.skip_verify); err != nil {
		return options, 0, err
	}
	if options.TelemetryQueue, err = number("options.telemetry_queue", in.telemetry_queue); err != nil {
		return options, 0, err
	}
	if options.TelemetryBatch, err = number("options.telemetry_batch", in.telemetry_batch); err != nil {
		return options, 0, err
	}
	if options.MaxLabels, err = number("options.max_labels", in.max_labels); err != nil {
		return options, 0, err
	}
	if options.MaxWaiting, err = number("options.max_waiting", in.max_waiting); err != nil {
		return options, 0, err
	}
	if in.cache_bytes > math.MaxInt64 {
		return options, 0, invalidArgument("options.cache_bytes: is %d; the limit is %d", in.cache_bytes, int64(math.MaxInt64))
	}
	options.CacheBytes = int64(in.cache_bytes)
	if options.Metadata, err = metadata(in.metadata, in.metadata_count); err != nil {
		return options, 0, err
	}
	options.KeepaliveTime = time.Duration(in.keepalive_time_ns)
	options.KeepaliveTimeout = time.Duration(in.keepalive_timeout_ns)
	options.TelemetryInterval = time.Duration(in.telemetry_interval_ns)
	options.Compression = core.Compression(in.compression)
	options.FlowEndTimeout = time.Duration(in.flow_end_timeout_ns)
	options.WrapConn = guest.Connection
	maxPending = uint64(in.max_pending_calls)
	if maxPending == 0 {
		maxPending = abi.DefaultMaxPendingCalls
	}
	return options, maxPending, nil
}

// metadata reads what is sent with every call.
func metadata(in *C.aperture_label, count C.size_t) ([]core.MetadataEntry, error) {
	switch {
	case count == 0:
		return nil, nil
	case in == nil:
		return nil, invalidArgument("options.metadata: is NULL but metadata_count is %d", count)
	case count > core.MaxMetadata:
		return nil, invalidArgument("options.metadata_count: is %d; the limit is %d", count, core.MaxMetadata)
	}
	entries := make([]core.MetadataEntry, count)
	for i, entry := range unsafe.Slice(in, int(count)) {
		var err error
		if entries[i].Key, err = text("options.metadata: a key", entry.key); err != nil {
			return nil, err
		}
		if entries[i].Value, err = text("options.metadata: a value", entry.value); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// number reads a count, for which core has an int.
func number(name string, in C.uint64_t) (int, error) {
	if in > math.MaxInt32 {
		return 0, invalidArgument("%s: is %d; the limit is %d", name, in, math.MaxInt32)
	}
	return int(in), nil
}
