# Class embeddings that the workflow makes: heads that are fitted to a model's features, and vectors of a text tower.


rule features:
    """The features of a split's images that a model's head reads, for fitting a head"""
    input:
        manifest="<results>/data/{dataset}/{split}/manifest.parquet",
    output:
        features="<results>/features/{model}/{dataset}/{split}.parquet",
    log:
        "<logs>/features/{model}/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/features/{model}/{dataset}/{split}.tsv"
    wildcard_constraints:
        model=one_of(FITTED),
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(2 * len(FITTED))
    resources:
        **ON_DEVICE,
        mem_mb=ram(8),
        runtime=480,
    params:
        **program(
            "features.py",
            lambda wildcards: plan.features_step(wildcards.model),
            places=lambda wildcards: {**root(wildcards), **hub(), "checkpoint": plan.files_of_model(wildcards.model)["checkpoint"]},
            content=lambda wildcards: plan.hashes_of_model(wildcards.model),
        ),
    message:
        "Extracting features of {wildcards.model} on {wildcards.dataset}, {wildcards.split}"
    shell:
        ON_DEVICE_COMMAND


rule fit_head:
    """A head that is fitted to a model's features, as a class embedding"""
    input:
        manifest=of_fit_split("<results>/data/{dataset}/{split}/manifest.parquet"),
        features=of_fit_split("<results>/features/{model}/{dataset}/{split}.parquet"),
        analysed_features=of_one("<results>/features/{model}/{dataset}/{split}.parquet"),
    output:
        class_embedding="<results>/models/{model}/class_embedding.safetensors",
    log:
        "<logs>/fit_head/{model}.log",
    benchmark:
        "<benchmarks>/fit_head/{model}.tsv"
    wildcard_constraints:
        model=one_of(FITTED),
    conda:
        "../envs/classlens.yaml"
    threads: model_threads(len(FITTED))
    resources:
        mem_mb=ram(8),
        runtime=480,
    params:
        **program("fit_head.py", lambda wildcards: plan.fit_step(wildcards.model)),
    message:
        "Fitting the head of {wildcards.model}"
    shell:
        COMMAND


rule text_embedding:
    """A class embedding of texts, by the text tower that was trained together with a CLIP model"""
    input:
        class_list=class_list,
    output:
        class_embedding="<results>/models/{model}/class_embedding.safetensors",
    log:
        "<logs>/text_embedding/{model}.log",
    benchmark:
        "<benchmarks>/text_embedding/{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.with_class_embedding("text")),
    conda:
        "../envs/classlens.yaml"
    threads: 4
    resources:
        mem_mb=ram(8),
        runtime=120,
    params:
        **program(
            "text_embedding.py",
            lambda wildcards: plan.text_step(wildcards.model),
            places=lambda wildcards: {**hub(), "weights": plan.text_weights(wildcards.model)},
            content=lambda wildcards: plan.text_hashes(wildcards.model),
        ),
    message:
        "Embedding the class names of {wildcards.model}"
    shell:
        COMMAND
