# SPDX-License-Identifier: Apache-2.0
# Made by `vouch completion` from the table of commands; a test keeps both equal.
_vouch() {
    local cur=${COMP_WORDS[COMP_CWORD]} noun= verb= skip= word words
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [ -n "$skip" ]; then skip=; continue; fi
        case $word in
        -C | -o | -w | --dir | --node | --as | --passphrase-file | --keys-dir | --trust | --token-file | --ca-file | --cert-file | --cert-key-file | --operator | --origin | --algorithm | --grant-life | --listen | --tls-cert | --tls-key | --log-level | --against | --as-of | --role | --key | --key-passphrase-file | --reason | --since | --owners | --wallet-passphrase-file | --dataset | --persons | --challenges | --writer | --guard | --secret-file | --module | --token | --follow | --header | --subject-col | --key-col | --label-col | --group | --terms | --until | --wallet | --range | --subject | --owner | --purpose | --processing | --fetch | --output | --grant | --name | --seed | --holdout | --work | --digest | --run | --action | --reference | --scope | --days | --new-origin | --log) skip=1 ;;
        -*) ;;
        *) if [ -z "$noun" ]; then noun=$word; elif [ -z "$verb" ]; then verb=$word; fi ;;
        esac
    done
    COMPREPLY=()
    if [ -n "$skip" ]; then
        COMPREPLY=($(compgen -f -- "$cur"))
        return
    fi
    case "$noun $verb" in
    ' ') words='init status check doctor serve verify id party wallet vault storage trustee blame dataset terms consent erasure access run model deployment decision bundle log state token config backup witness completion help version ' ;;
    'id ') words='new list show ' ;;
    'party ') words='add list show rotate revoke ' ;;
    'wallet ') words='new list show keys ' ;;
    'vault ') words='up status withdraw ' ;;
    'storage ') words='audit repair init serve status ' ;;
    'trustee ') words='rewrap init serve status ' ;;
    'blame ') words='list verify ' ;;
    'dataset ') words='create add list show versions check diff ' ;;
    'terms ') words='add list show ' ;;
    'consent ') words='give record withdraw list show ' ;;
    'erasure ') words='request status ' ;;
    'access ') words='request own list show fetch ' ;;
    'run ') words='exec list show ' ;;
    'model ') words='add list show affected remedy ' ;;
    'deployment ') words='add end list ' ;;
    'decision ') words='log list show trace ' ;;
    'bundle ') words='make show ' ;;
    'log ') words='head cosign cat submit export prove mirror ' ;;
    'state ') words='get prove ' ;;
    'token ') words='new list revoke ' ;;
    'config ') words='show accept ' ;;
    'backup ') words='make check restore ' ;;
    'witness ') words='init serve show ' ;;
    'init '*) words=' --operator --origin --algorithm --grant-life --no-vault' ;;
    'check '*) words=' --full --repair' ;;
    'serve '*) words=' --listen --tls-cert --tls-key --public-plain --log-level' ;;
    'verify '*) words=' --trust --against --as-of' ;;
    'id new') words=' --algorithm' ;;
    'party add') words=' --role --key --key-passphrase-file' ;;
    'party rotate') words=' --key --key-passphrase-file' ;;
    'party revoke') words=' --key --reason --since --yes --key-passphrase-file' ;;
    'wallet new') words=' --owners --simulated --wallet-passphrase-file' ;;
    'wallet list') words=' --wallet-passphrase-file' ;;
    'wallet show') words=' --wallet-passphrase-file' ;;
    'wallet keys') words=' --dataset --persons --wallet-passphrase-file' ;;
    'storage audit') words=' --challenges' ;;
    'storage init') words=' --writer --listen' ;;
    'storage serve') words=' --listen --public-plain --log-level' ;;
    'trustee rewrap') words=' --guard --secret-file --module --token' ;;
    'trustee init') words=' --follow --trust --ca-file --listen' ;;
    'trustee serve') words=' --listen --public-plain --log-level' ;;
    'dataset create') words=' --header --subject-col --key-col --label-col --group' ;;
    'dataset add') words=' --owners' ;;
    'consent give') words=' --terms --until --wallet --persons --range --all --subject --owner --wallet-passphrase-file' ;;
    'consent withdraw') words=' --terms --wallet --persons --range --all --subject --owner --wallet-passphrase-file' ;;
    'erasure request') words=' --wallet --persons --range --all --subject --owner --wallet-passphrase-file' ;;
    'access request') words=' --purpose --processing --group --fetch' ;;
    'access own') words=' --wallet --persons --range --all --subject --owner --group --output --wallet-passphrase-file' ;;
    'access fetch') words=' --output' ;;
    'run exec') words=' --grant --name --seed --holdout --work' ;;
    'model add') words=' --digest --run' ;;
    'model remedy') words=' --action --reference' ;;
    'deployment end') words=' --reason' ;;
    'bundle make') words=' --output' ;;
    'log prove') words=' --output' ;;
    'log mirror') words=' --trust --complete' ;;
    'token new') words=' --scope --days' ;;
    'backup make') words=' --keys' ;;
    'backup restore') words=' --new-origin' ;;
    'witness init') words=' --name --log' ;;
    'witness serve') words=' --listen --tls-cert --tls-key --public-plain --log-level' ;;
    'help '*) words=' --man' ;;
    *) words= ;;
    esac
    case $cur in
    -*) COMPREPLY=($(compgen -W "$words -C --dir --node --as --passphrase-file --keys-dir --trust --token-file --ca-file --cert-file --cert-key-file --json --quiet --no-input --accept-clock --help --version" -- "$cur")) ;;
    *) case $words in *--* | '') COMPREPLY=($(compgen -f -- "$cur")) ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;; esac ;;
    esac
}
complete -F _vouch vouch
