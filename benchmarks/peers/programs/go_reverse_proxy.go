// A reverse proxy made of httputil.ReverseProxy, as one writes it in an afternoon; requests and upgrades alike.
//
//	go_reverse_proxy [-certificate FILE -key FILE] PORT TARGET...
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
)

func main() {
	certificate := flag.String("certificate", "", "that clients are shown")
	key := flag.String("key", "", "of the certificate")
	flag.Parse()
	port, targets := flag.Arg(0), flag.Args()[1:]
	protocol := "http"
	if *certificate != "" {
		protocol = "https"
	}
	var turn uint64
	proxy := &httputil.ReverseProxy{
		Director: func(request *http.Request) {
			request.URL.Scheme = "http"
			request.URL.Host = "127.0.0.1:" + targets[atomic.AddUint64(&turn, 1)%uint64(len(targets))]
			request.Header.Set("X-Forwarded-Proto", protocol)
			request.Header.Set("X-Forwarded-Port", port)
		},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{}).DialContext,
			DisableCompression:  true,
			MaxIdleConnsPerHost: 1024,
		},
	}
	if *certificate != "" {
		log.Fatal(http.ListenAndServeTLS("127.0.0.1:"+port, *certificate, *key, proxy))
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, proxy))
}
