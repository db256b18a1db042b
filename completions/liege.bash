# bash completion of liege; made by `liege completions bash`

_liege_names() {
    local name n api=()
    for ((n = 2; n < COMP_CWORD; n++)); do
        [[ ${COMP_WORDS[n]} == --api ]] && api=(--api "${COMP_WORDS[n + 1]}")
    done
    while IFS= read -r name; do
        [[ $name == "$1"* ]] && COMPREPLY+=("$name")
    done < <(liege status --names "${api[@]}" 2>/dev/null)
}

_liege() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} options=
    COMPREPLY=()
    case $verb in
        status) options='--names --json --api --hosts --token-file --ca-file --cert' ;;
        top) options='--interval --once --json --api --hosts --token-file --ca-file --cert' ;;
        page) options='--listen --api --hosts --token-file --ca-file --cert' ;;
        why) options='--json --api --token-file --ca-file --cert' ;;
        logs) options='--follow --lines --json --api --token-file --ca-file --cert' ;;
        events) options='--follow --lines --json --api --hosts --token-file --ca-file --cert' ;;
        stacks) options='--json --api --token-file --ca-file --cert' ;;
        reload) options='--all --emperor --wait --json --api --token-file --ca-file --cert' ;;
        restart) options='--wait --json --api --token-file --ca-file --cert' ;;
        stop) options='--wait --json --api --token-file --ca-file --cert' ;;
        start) options='--wait --json --api --token-file --ca-file --cert' ;;
        sleep) options='--wait --json --api --token-file --ca-file --cert' ;;
        wake) options='--wait --json --api --token-file --ca-file --cert' ;;
        clear-back-off) options='--all --wait --json --api --token-file --ca-file --cert' ;;
        scale) options='--workers --wait --json --api --token-file --ca-file --cert' ;;
        log-level) options='--level --emperor --wait --json --api --token-file --ca-file --cert' ;;
        rescan) options='--wait --json --api --token-file --ca-file --cert' ;;
        upgrade) options='--wait --json --api --token-file --ca-file --cert' ;;
        check) options='--import --json' ;;
        config) options='--diff --json' ;;
        help|completions) ;;
        *) options='--processes --threads --gevent --gevent-early-monkey-patch --gevent-monkey-patch --gevent-wait-for-hub --lazy-apps --lazy --harakiri --max-requests --max-requests-delta --min-worker-lifetime --idle --heartbeat --worker-reload-mercy --reload-mercy --startup-timeout --buffer-size --socket-timeout --socket --http-socket --protocol --listen --chmod-socket --chown-socket --abstract-socket --chdir --wsgi-file --module --callable --pythonpath --virtualenv --python --extension --need-app --env --envdir --unenv --plugins --need-plugins --uid --gid --add-gid --no-initgroups --umask --no-new-privileges --cap --root-apps --pidfile --pidfile2 --safe-pidfile --logto --logto2 --daemonize --disable-logging --vacuum --die-on-term --touch-reload --stats --auto-procname --procname-prefix --procname-prefix-spaced --strict --ini --include --set --end-blacklist --end-whitelist --print --http --https --https2 --http-to-https --https-export-cert --http-enable-proxy-protocol --http-timeout --http-keepalive --cheaper --cheaper-initial --cheaper-step --cheaper-overload --cheaper-idle --cheaper-algo --cheaper-busyness-max --cheaper-busyness-min --cheaper-busyness-multiplier --cheaper-busyness-penalty --cheaper-busyness-backlog-alert --cheaper-busyness-backlog-step --cheaper-busyness-backlog-multiplier --cheaper-busyness-backlog-nonzero --cheaper-busyness-verbose --cheaper-rss-limit-soft --cheaper-rss-limit-hard --cheap --log-format --log-format-strftime --memory-report --log-x-forwarded-for --log-micros --log-4xx --log-5xx --log-zero --log-ioerror --log-slow --log-big --show-config --log-maxsize --log-backupname --log-reopen --log-truncate --logfile-chown --logfile-chmod --touch-logrotate --touch-logreopen --reload-on-rss --reload-on-as --max-worker-lifetime --max-worker-lifetime-delta --max-fd --limit-as --limit-nproc --mount --manage-script-name --limit-post --import --add-header --disable-write-exception --stats-http --stats-minified --stats-no-cores --stats-push --stats-pusher-default-freq --py-autoreload --py-auto-reload-ignore --pyargv --optimize --wsgi-disable-file-wrapper --evil-reload-on-rss --evil-reload-on-as --mem-collector-freq --log-date --logger --req-logger --log-syslog --log-socket --log-route --log-req-route --log-drain --log-filter --log-encoder --log-req-encoder --log-master-bufsize --static-map --static-map2 --check-static --static-index --static-safe --static-skip-ext --mime-file --static-gzip-all --static-gzip-dir --static-gzip-ext --static-gzip --static-expires --static-expires-mtime --static-expires-type --static-expires-type-mtime --static-expires-uri --static-expires-uri-mtime --static-expires-path-info --static-expires-path-info-mtime --honour-range --file-serve-mode --emperor --emperor-extra-extension --emperor-nofollow --emperor-tyrant --emperor-tyrant-nofollow --emperor-tyrant-initgroups --vassals-limit --emperor-use-clone --emperor-cap --vassals-env --vassal-set --vassals-default --vassals-inherit-before --vassals-include-before --vassals-inherit --vassals-include --emperor-attr --emperor-freq --emperor-throttle --emperor-max-throttle --emperor-curse-tolerance --emperor-required-heartbeat --emperor-wrapper --emperor-wrapper-override --emperor-wrapper-fallback --emperor-concurrency --emperor-no-blacklist --emperor-served-file --emperor-stats --vassals-start-hook --vassals-stop-hook --emperor-procname --emperor-pidfile --emperor-on-demand-extension --emperor-on-demand-directory --emperor-on-demand-exec --adopt --orphan-grace --runtime-dir --api --api-http --api-tls --api-token-file --api-chown --api-chmod --api-role --api-write --api-redact-queries --api-host --master --enable-threads --single-interpreter --no-orphans --log-master --threaded-logger --log-master-stream --no-defer-accept --close-on-exec --harakiri-verbose --tcp-nodelay --http-auto-chunked --http-manage-expect --die-on-idle --emperor-graceful-shutdown --ignore-sigpipe --post-buffering' ;;
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    elif [[ $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W 'emperor status top page why logs events stacks reload restart stop start sleep wake clear-back-off scale log-level rescan upgrade check config help completions' -- "$word") $(compgen -f -X '!*.@(ini|json|yaml|yml|xml)' -- "$word"))
    elif [[ $verb == completions ]]; then
        COMPREPLY=($(compgen -W 'bash zsh fish' -- "$word"))
    elif [[ $verb == help ]]; then
        COMPREPLY=($(compgen -W 'emperor status top page why logs events stacks reload restart stop start sleep wake clear-back-off scale log-level rescan upgrade check config help completions processes threads gevent gevent-early-monkey-patch gevent-monkey-patch gevent-wait-for-hub lazy-apps lazy harakiri max-requests max-requests-delta min-worker-lifetime idle heartbeat worker-reload-mercy reload-mercy startup-timeout buffer-size socket-timeout socket http-socket protocol listen chmod-socket chown-socket abstract-socket chdir wsgi-file module callable pythonpath virtualenv python extension need-app env envdir unenv plugins need-plugins uid gid add-gid no-initgroups umask no-new-privileges cap root-apps pidfile pidfile2 safe-pidfile logto logto2 daemonize disable-logging vacuum die-on-term touch-reload stats auto-procname procname-prefix procname-prefix-spaced strict ini include set end-blacklist end-whitelist print http https https2 http-to-https https-export-cert http-enable-proxy-protocol http-timeout http-keepalive cheaper cheaper-initial cheaper-step cheaper-overload cheaper-idle cheaper-algo cheaper-busyness-max cheaper-busyness-min cheaper-busyness-multiplier cheaper-busyness-penalty cheaper-busyness-backlog-alert cheaper-busyness-backlog-step cheaper-busyness-backlog-multiplier cheaper-busyness-backlog-nonzero cheaper-busyness-verbose cheaper-rss-limit-soft cheaper-rss-limit-hard cheap log-format log-format-strftime memory-report log-x-forwarded-for log-micros log-4xx log-5xx log-zero log-ioerror log-slow log-big show-config log-maxsize log-backupname log-reopen log-truncate logfile-chown logfile-chmod touch-logrotate touch-logreopen reload-on-rss reload-on-as max-worker-lifetime max-worker-lifetime-delta max-fd limit-as limit-nproc mount manage-script-name limit-post import add-header disable-write-exception stats-http stats-minified stats-no-cores stats-push stats-pusher-default-freq py-autoreload py-auto-reload-ignore pyargv optimize wsgi-disable-file-wrapper evil-reload-on-rss evil-reload-on-as mem-collector-freq log-date logger req-logger log-syslog log-socket log-route log-req-route log-drain log-filter log-encoder log-req-encoder log-master-bufsize static-map static-map2 check-static static-index static-safe static-skip-ext mime-file static-gzip-all static-gzip-dir static-gzip-ext static-gzip static-expires static-expires-mtime static-expires-type static-expires-type-mtime static-expires-uri static-expires-uri-mtime static-expires-path-info static-expires-path-info-mtime honour-range file-serve-mode emperor emperor-extra-extension emperor-nofollow emperor-tyrant emperor-tyrant-nofollow emperor-tyrant-initgroups vassals-limit emperor-use-clone emperor-cap vassals-env vassal-set vassals-default vassals-inherit-before vassals-include-before vassals-inherit vassals-include emperor-attr emperor-freq emperor-throttle emperor-max-throttle emperor-curse-tolerance emperor-required-heartbeat emperor-wrapper emperor-wrapper-override emperor-wrapper-fallback emperor-concurrency emperor-no-blacklist emperor-served-file emperor-stats vassals-start-hook vassals-stop-hook emperor-procname emperor-pidfile emperor-on-demand-extension emperor-on-demand-directory emperor-on-demand-exec adopt orphan-grace runtime-dir api api-http api-tls api-token-file api-chown api-chmod api-role api-write api-redact-queries api-host master enable-threads single-interpreter no-orphans log-master threaded-logger log-master-stream no-defer-accept close-on-exec harakiri-verbose tcp-nodelay http-auto-chunked http-manage-expect die-on-idle emperor-graceful-shutdown ignore-sigpipe post-buffering' -- "$word"))
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} != --* && $verb == @(status|top|why|logs|events|stacks|reload|restart|stop|start|sleep|wake|clear-back-off|scale|log-level) ]]; then
        _liege_names "$word"
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}

complete -o filenames -F _liege liege
