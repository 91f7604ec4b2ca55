# Measures per image, from the projections of one model: small tables that figures and tables are made from.
PROJECTIONS = shards_of("<results>/projections/{model}/{dataset}/{split}/{shard}.parquet")


rule identifiability:
    input:
        projections=PROJECTIONS,
        card="<results>/models/{model}/model.json",
    output:
        measures="<results>/identifiability/{model}/{dataset}.parquet",
        ranks="<results>/identifiability/{model}/{dataset}_ranks.parquet",
    log:
        "<logs>/identifiability/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/identifiability/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("identifiability.py"),
        mem_mb=memory(4),
        runtime=60,
    params:
        protocol=settings["protocol"],
        code=code("identifiability.py"),
    message:
        "Measuring class identifiability of {wildcards.model} on {wildcards.dataset}"
    shell:
        "python {resources.script:q} --log {log:q} --threads {threads} --protocol {params.protocol}"
        " --projections {input.projections:q} --card {input.card:q} --identifiability {output.measures:q} --ranks {output.ranks:q}"


rule context:
    input:
        projections=PROJECTIONS,
        card="<results>/models/{model}/model.json",
        tokens="<results>/tokens/{model}/{dataset}.parquet",
    output:
        "<results>/context/{model}/{dataset}.parquet",
    log:
        "<logs>/context/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/context/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("context.py"),
        mem_mb=memory(4),
        runtime=60,
    params:
        protocol=settings["protocol"],
        code=code("context.py"),
    message:
        "Comparing class and context tokens of {wildcards.model} on {wildcards.dataset}"
    shell:
        "python {resources.script:q} --log {log:q} --threads {threads} --protocol {params.protocol}"
        " --projections {input.projections:q} --card {input.card:q} --tokens {input.tokens:q} --context {output:q}"


rule building:
    input:
        projections=PROJECTIONS,
        card="<results>/models/{model}/model.json",
        tokens=tokens_if_masks,
    output:
        changes="<results>/building/{model}/{dataset}.parquet",
        composition="<results>/building/{model}/{dataset}_composition.parquet",
    log:
        "<logs>/building/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/building/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("building.py"),
        mem_mb=memory(4),
        runtime=60,
    params:
        protocol=settings["protocol"],
        code=code("building.py"),
    message:
        "Measuring how the layers of {wildcards.model} build the class on {wildcards.dataset}"
    shell:
        "python {resources.script:q} --log {log:q} --threads {threads} --protocol {params.protocol}"
        " --projections {input.projections:q} --card {input.card:q} --tokens {input.tokens:q}"
        " --changes {output.changes:q} --composition {output.composition:q}"


rule memories:
    input:
        weights="<results>/models/{model}/model.safetensors",
        card="<results>/models/{model}/model.json",
        twin=twin_card,
        manifest=eval_manifest,
        predictions=of_one("<results>/predictions/{model}/{dataset}/{split}.parquet"),
        memory_keys=shards_of("<results>/memory_keys/{model}/{dataset}/{split}/{shard}.parquet"),
        projections=PROJECTIONS,
    output:
        class_value_agreement="<results>/memories/{model}/{dataset}/class_value_agreement.parquet",
        key_value_agreement="<results>/memories/{model}/{dataset}/key_value_agreement.parquet",
        by_class="<results>/memories/{model}/{dataset}/key_value_agreement_by_class.parquet",
        composition="<results>/memories/{model}/{dataset}/composition.parquet",
        interpretable_values="<results>/memories/{model}/{dataset}/interpretable_values.parquet",
    log:
        "<logs>/memories/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/memories/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        script=script("memories.py"),
        mem_mb=memory(6),
        runtime=120,
    params:
        protocol=settings["protocol"],
        code=code("memories.py"),
        twin=lambda wildcards, input: [str(Path(card).parent) for card in input.twin],
    message:
        "Asking which classes the memories of {wildcards.model} stand for on {wildcards.dataset}"
    shell:
        "python {resources.script:q} --log {log:q} --threads {threads} --protocol {params.protocol}"
        " --model $(dirname {input.card:q}) --twin {params.twin:q} --manifest {input.manifest:q} --predictions {input.predictions:q}"
        " --memory-keys {input.memory_keys:q} --projections {input.projections:q}"
        " --class-value-agreement {output.class_value_agreement:q} --key-value-agreement {output.key_value_agreement:q}"
        " --by-class {output.by_class:q} --composition {output.composition:q} --interpretable-values {output.interpretable_values:q}"


rule probes:
    input:
        card="<results>/models/{model}/model.json",
        manifest=eval_manifest,
        states=shards_of("<results>/hidden_states/{model}/{dataset}/{split}/{shard}.parquet"),
        train_manifest=probe_manifest,
        train_states=probe_states,
    output:
        ranks="<results>/probes/{model}/{dataset}.parquet",
        accuracy="<results>/probes/{model}/{dataset}_accuracy.parquet",
    log:
        "<logs>/probes/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/probes/{model}/{dataset}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: shared(2, most=8)
    resources:
        script=script("probe.py"),
        mem_mb=memory(8),
        runtime=240,
    params:
        settings=lambda wildcards: plan.probe_settings(wildcards.dataset),
        code=code("probe.py"),
    message:
        "Fitting linear probes to the hidden states of {wildcards.model} on {wildcards.dataset}"
    shell:
        "python {resources.script:q} --log {log:q} --threads {threads} --protocol {params.settings[protocol]}"
        " --card {input.card:q} --manifest {input.manifest:q} --states {input.states:q}"
        " --train-manifest {input.train_manifest:q} --train-states {input.train_states:q}"
        " --training {params.settings[training]:q} --seed {params.settings[seed]}"
        " --ranks {output.ranks:q} --accuracy {output.accuracy:q}"
